"""How the API's document describes uploads in pieces: the headers and bodies that the handlers read themselves."""

from dataclasses import dataclass
from typing import Final

from litestar.openapi.spec import OpenAPIMediaType, Operation, Parameter, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from townsquare.services.media import tus

PIECE_BODY: Final = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY))


@dataclass
class TusOperation(Operation):
    """A call of the protocol, which names its version."""

    def __post_init__(self) -> None:
        """Add the version."""
        self.parameters = [
            *(self.parameters or []),
            _header("Tus-Resumable", Schema(type=OpenAPIType.STRING, const=tus.VERSION), "The protocol's version."),
        ]


@dataclass
class BeginOperation(TusOperation):
    """The call that begins an upload, perhaps with a first piece."""

    def __post_init__(self) -> None:
        """Add what is said of the file."""
        super().__post_init__()
        said = "Pairs of a name and a text in Base64, separated by commas: `filename`, `alt`, `visibility`."
        self.parameters = [
            *(self.parameters or []),
            _header("Upload-Length", Schema(type=OpenAPIType.INTEGER, minimum=1), "Bytes of the whole file."),
            _header("Upload-Metadata", Schema(type=OpenAPIType.STRING), said, required=False),
        ]
        self.request_body = RequestBody(content={tus.PIECE: PIECE_BODY}, description="The first piece.")


@dataclass
class PieceOperation(TusOperation):
    """The call that sends a piece."""

    def __post_init__(self) -> None:
        """Add where it stands, and the piece."""
        super().__post_init__()
        offset = _header("Upload-Offset", Schema(type=OpenAPIType.INTEGER, minimum=0), "Bytes that stand before it.")
        self.parameters = [*(self.parameters or []), offset]
        self.request_body = RequestBody(content={tus.PIECE: PIECE_BODY}, required=True)


@dataclass
class OverrideOperation(PieceOperation):
    """The call that stands for PATCH or DELETE."""

    def __post_init__(self) -> None:
        """Add for which."""
        super().__post_init__()
        method = Schema(type=OpenAPIType.STRING, enum=["PATCH", "DELETE"])
        named = _header("X-HTTP-Method-Override", method, "What to do.")
        self.parameters = [*(self.parameters or []), named]


def _header(name: str, schema: Schema, description: str, *, required: bool = True) -> Parameter:
    return Parameter(name=name, param_in="header", schema=schema, description=description, required=required)
