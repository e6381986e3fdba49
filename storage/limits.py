"""Limits: the bounds a stranger may rely on."""

ITEM_LIMIT = 10_240
"""Bytes of canonical UTF-8 JSON in one item."""

DOCUMENT_LIMIT = 256 * 1024
"""Bytes of canonical UTF-8 JSON in one document, and of UTF-8 in the one profile text."""

MESSAGE_LIMIT = 64 * 1024
"""Bytes of canonical UTF-8 JSON in one message."""

PATCH_LIMIT = 10_000
"""Operations in one patch."""

NODE_LIMIT = 100_000
"""Values (objects, arrays and scalars) in one JSON value."""

DEPTH_LIMIT = 64
"""Objects and arrays inside one another in one JSON value."""

NAME_LIMIT = 256
"""Characters in a namespace, a key, or a part of an identity."""

NAME_BYTES_LIMIT = 1_024
"""Bytes of UTF-8 in a namespace, a key, or a part of an identity."""

PAGE_LIMIT = 100
"""Entries in one page of a list."""

CHECKPOINT_EVERY = 50
"""Versions between two snapshot checkpoints at the most."""

CHECKPOINT_GROWTH = 2
"""A checkpoint is due when the patches since the last one outgrow the document this many times."""

VERSION_LIMIT = 2**31 - 1
"""The highest version that may be asked for, as far as PostgreSQL's `integer` goes."""
