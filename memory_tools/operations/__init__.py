"""The catalog: every operation, listed by hand, in the order in which doors show them."""

from memory_tools.operation import by_name
from memory_tools.operations.activity import note_activity
from memory_tools.operations.configuration import (
    get_memory_configuration,
    reset_memory_configuration,
    set_memory_configuration,
)
from memory_tools.operations.conversation_memories import (
    get_conversation_memory,
    list_conversation_memories,
    set_conversation_memory,
)
from memory_tools.operations.conversations import append_messages, list_conversations, list_messages
from memory_tools.operations.document import (
    compare_memory_versions,
    get_memory_history,
    get_user_memory,
    revert_user_memory,
    update_user_memory,
)
from memory_tools.operations.items import (
    delete_memory_item,
    get_memory_item,
    list_memory_items,
    push_memory_item,
    set_memory_item,
)
from memory_tools.operations.pending import (
    accept_pending_version,
    get_pending_version,
    list_pending_versions,
    reject_pending_version,
)
from memory_tools.operations.profile import delete_profile_text, get_profile_text, set_profile_text

CATALOG = by_name(
    get_user_memory,
    update_user_memory,
    get_memory_history,
    compare_memory_versions,
    revert_user_memory,
    list_memory_items,
    get_memory_item,
    set_memory_item,
    push_memory_item,
    delete_memory_item,
    get_profile_text,
    set_profile_text,
    delete_profile_text,
    append_messages,
    list_messages,
    list_conversations,
    get_conversation_memory,
    set_conversation_memory,
    list_conversation_memories,
    note_activity,
    list_pending_versions,
    get_pending_version,
    accept_pending_version,
    reject_pending_version,
    get_memory_configuration,
    set_memory_configuration,
    reset_memory_configuration,
)
"""Operations by name."""
