"""The errors of the package. Each says what is wrong, where, and what to do."""


class FedlabError(ValueError):
    """Base class of every error the package raises on purpose."""


class DataError(FedlabError):
    """Data that cannot be used: names the client or file, the column and what to do."""


class DownloadError(FedlabError):
    """A file that could not be fetched, or is not the file it should be."""


class DivergedError(FedlabError):
    """A client's training produced weights that are not finite; names the client and the round."""


class CheckpointError(FedlabError):
    """A checkpoint that is damaged or belongs to another run."""
