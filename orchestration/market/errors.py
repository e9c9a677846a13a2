"""The one family of errors that a person is meant to read.

Everything that a user can cause (a wrong setting, a bad seed row, an unreadable file) is raised as an
`OrewatchError` whose text is one line: what is wrong, where, and what is allowed. The command line prints
that line without a traceback.
"""


class OrewatchError(Exception):
    """Base of the errors whose message is written for the user."""


class SettingsError(OrewatchError):
    """An OREWATCH_* environment variable holds a value that cannot be used."""


class SeedError(OrewatchError):
    """A seed file holds something that is not allowed; the message names file, row, column and value."""


class LakeError(OrewatchError):
    """The lake cannot be read or written; the message names the file."""


class PublishError(OrewatchError):
    """A version could not be published; readers stay on the last good one."""


class StoreError(OrewatchError):
    """An object store could not be read or written, or another home keeps it; what is on the disk is untouched."""


class RebuildError(OrewatchError):
    """Tables could not be built beside the warehouse; nothing that readers see has changed."""
