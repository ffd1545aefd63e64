"""What can go wrong with the embedded PostgreSQL, in sentences for the person who started townsquare."""


class PostgresError(Exception):
    """Something is wrong with the embedded PostgreSQL; the message says what, and what to do."""


class PostgresProgramsError(PostgresError):
    """PostgreSQL's programs are nowhere to be found, or are not usable."""


class PostgresVersionError(PostgresError):
    """The cluster on disk belongs to another major version than the programs."""


class PostgresAccountError(PostgresError):
    """No account of this machine may run the server on this folder."""


class PostgresFolderError(PostgresError):
    """A folder or file is not what it should be, or is not reachable."""


class PostgresBusyError(PostgresError):
    """Another process has been starting or stopping the same server for too long."""


class PostgresStartError(PostgresError):
    """The server, or the making of its cluster, gave up; the message holds the end of its log."""


class PostgresSilentError(PostgresError):
    """The server's process is there, but does not answer."""
