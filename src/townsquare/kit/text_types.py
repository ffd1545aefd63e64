"""Text as people may send it: no NUL, which PostgreSQL cannot keep, and no control characters, which nobody can see.

Both patterns are searched for in the text, so they stand in OpenAPI as they are checked here. They end in a
lookahead, as `$` would let a line break pass at the end.
"""

from typing import Annotated, Final, TypeAlias

from msgspec import Meta

LINE: Final = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*(?![\s\S])"
"""One line: no control characters at all."""

TEXT: Final = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*(?![\s\S])"
"""Lines: tabs and line breaks, and no other control characters."""

ShortLine: TypeAlias = Annotated[str, Meta(max_length=100, pattern=LINE)]
Line: TypeAlias = Annotated[str, Meta(max_length=200, pattern=LINE)]
LongText: TypeAlias = Annotated[str, Meta(max_length=5_000, pattern=TEXT)]
