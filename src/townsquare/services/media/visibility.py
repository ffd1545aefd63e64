"""Who may see a file: the one place that says so, for every query of this service.

The conditions are SQL over `f` (the file), `o` (its owner's row of `people`) and `$1` (who asks; NULL for nobody).

- The owner always may, and nobody sees anything of an owner who is hidden.
- Whom the owner has blocked sees nothing.
- `public` and `unlisted`: everybody else who knows the id. `private`: nobody else.
- Lists show what is public, and leave out, besides, whom the viewer has blocked. Owners find all of theirs in their own.
"""

from typing import Final

# Each look at a block is a scalar subquery on its primary key: with EXISTS the planner may read the whole table to hash it.
READABLE: Final = """
    NOT o.hidden
    AND (f.owner_id = $1::uuid
         OR (f.visibility <> 'private'
             AND (SELECT b.active FROM blocks AS b
                  WHERE b.blocker = f.owner_id AND b.blocked = $1::uuid) IS NOT TRUE))
"""
"""True for a file that `$1` may see."""

UNBLOCKED: Final = """
    (SELECT b.active FROM blocks AS b
     WHERE b.blocker = $1::uuid AND b.blocked = f.owner_id) IS NOT TRUE
"""
"""True unless `$1` has blocked the owner."""

LISTED: Final = f"{READABLE} AND {UNBLOCKED}"
"""True for a public file that a list shows to `$1`."""
