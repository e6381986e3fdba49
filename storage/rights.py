"""Rights: all that PostgreSQL should have on record about the schema, as one list. What is not on it is not allowed.

The class of a table (`storage/tables.py`) decides its rights; those of the directory are written out. Roles stand here
without their prefix. `storage/catalog.py` asks for the same facts, `storage/security.py` compares the two.
"""

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple, TypeAlias

import sqlalchemy as sa

from storage.roles import LOGIN_ROLES, NOLOGIN_ROLES
from storage.tables import metadata

Fact: TypeAlias = tuple[str, str]
"""An object of the catalog, and one thing that it has."""

ONE = "(owner_id = usermemory.bound_owner())"
"""A row is written for the bound owner. Expressions stand here as PostgreSQL prints them."""

BRANCHES = "(owner_id = ANY (usermemory.bound_owners()))"
"""A row is read and deleted in the branches merged into the bound owner, too."""


class Policy(NamedTuple):
    """One policy: for which command and roles, which rows are seen (`using`) and which may be written (`check`)."""

    name: str
    command: str
    roles: str
    using: str | None = None
    check: str | None = None


class TableRights(NamedTuple):
    """The policies of one table, and its grants: roles and what they may do."""

    policies: tuple[Policy, ...]
    grants: dict[str, str]


_READ = Policy("read", "SELECT", "app worker", BRANCHES)
_ADD = Policy("add", "INSERT", "app worker", None, ONE)
_CHANGE = Policy("change", "UPDATE", "app worker", ONE, ONE)
_REMOVE = Policy("remove", "DELETE", "app worker", BRANCHES)
_WIPE = Policy("wipe", "ALL", "eraser", BRANCHES)
_READ_OWN = Policy("read", "SELECT", "app", BRANCHES)
_SCAN = Policy("scan", "SELECT", "worker", "true")
_RESOLVE = Policy("resolve", "ALL", "resolver", "true", "true")
_WORK = Policy("work", "ALL", "worker", "true", "true")
_READ_BY_TRIGGERS = Policy("read", "SELECT", "resolver eraser", "true")
_ALL_RIGHTS = "SELECT INSERT UPDATE DELETE"

CONTENT = TableRights(
    (_READ, _ADD, _CHANGE, _REMOVE, _WIPE),
    {"app worker": "SELECT INSERT UPDATE DELETE", "eraser": "SELECT DELETE"},
)

LOG = TableRights((_READ, _ADD, _WIPE), {"app worker": "SELECT INSERT", "eraser": "SELECT DELETE"})
"""Only ever added to: there is neither a right nor a policy to change it."""

SCANNED = TableRights(
    (_READ_OWN, _SCAN, _ADD, _CHANGE, _WIPE),
    {"app worker": "SELECT INSERT UPDATE", "eraser": "SELECT DELETE"},
)
"""The application sees its own rows; the worker sees everybody's, to find work."""

DIRECTORY = {
    "owners": TableRights(
        (
            Policy("read", "SELECT", "app", "(survivor_id = usermemory.bound_owner())"),
            _SCAN,
            Policy("change", "UPDATE", "app worker", *["(id = usermemory.bound_owner())"] * 2),
            _RESOLVE,
            Policy("wipe", "ALL", "eraser", "(survivor_id = usermemory.bound_owner())"),
        ),
        {
            "app worker": "SELECT UPDATE(last_message) UPDATE(conversation_count) UPDATE(total_tokens)"
            " UPDATE(last_interaction_at) UPDATE(last_active_at)",
            "resolver": "SELECT INSERT UPDATE(survivor_id) UPDATE(merged_into) UPDATE(last_active_at)",
            "eraser": "SELECT DELETE UPDATE(survivor_id)",  # without UPDATE nobody can lock a row
        },
    ),
    "identities": TableRights(
        (_READ_OWN, _RESOLVE, _WIPE),
        {"app": "SELECT", "resolver": "SELECT INSERT DELETE", "eraser": "SELECT DELETE"},
    ),
    "conversations": SCANNED,
    "cursors": SCANNED,
    "erasures": TableRights(
        (Policy("resolve", "SELECT", "resolver", "true"), Policy("record", "INSERT", "eraser", None, BRANCHES)),
        {"resolver": "SELECT", "eraser": "INSERT"},
    ),
    "configurations": TableRights(
        (Policy("resolve", "SELECT", "resolver", "true"), Policy("edit", "ALL", "worker", "true", "true")),
        {"resolver": "SELECT", "worker": "SELECT INSERT UPDATE DELETE"},
    ),
    "api_keys": TableRights(
        (Policy("resolve", "SELECT", "resolver", "true"), Policy("edit", "ALL", "worker", "true", "true"), _WIPE),
        {"resolver": "SELECT", "worker": "SELECT INSERT UPDATE(revoked_at)", "eraser": "SELECT DELETE"},
    ),
    "configuration_keys": TableRights((_WORK,), {"worker": _ALL_RIGHTS}),
    "batches": TableRights((_WORK,), {"worker": _ALL_RIGHTS}),
    "jobs": TableRights((_WORK, _WIPE), {"worker": _ALL_RIGHTS, "eraser": "SELECT DELETE"}),
    "queue_messages": TableRights(
        (_WORK, _ADD._replace(roles="app"), _WIPE),
        {
            "worker": _ALL_RIGHTS,
            "app": "INSERT(owner_id) INSERT(body) INSERT(receives) INSERT(available_at) INSERT(created_at)",
            "eraser": "SELECT DELETE",
        },
    ),
    "outbox": TableRights(
        (_WORK, Policy("record", "INSERT", "resolver", None, "true"), _WIPE),
        {"worker": _ALL_RIGHTS, "resolver": "INSERT", "eraser": "SELECT INSERT DELETE"},
    ),
    "publishing": TableRights((_WORK, _READ_BY_TRIGGERS), {"worker": _ALL_RIGHTS, "resolver eraser": "SELECT"}),
}

SEQUENCES = ("outbox_id_seq", "queue_messages_id_seq")
"""What counts the keys that nobody gives; nobody but the tables asks them."""

TRIGGERS = {
    "items": ("INSERT OR DELETE OR UPDATE", "item"),
    "heads": ("INSERT OR UPDATE", "document"),
    "profiles": ("INSERT OR DELETE OR UPDATE", "profile"),
    "conversation_memories": ("INSERT OR UPDATE", "conversation"),
}
"""What notes changes: by which commands, and what it calls the kind of memory."""

EVERYONE = "app worker resolver eraser"


class Function(NamedTuple):
    """Whose a function is, how it runs, and who may run it."""

    owner: str
    form: str
    roles: str


_PLAIN = "SET search_path=pg_catalog, pg_temp"  # the caller's must not decide what runs with the owner's rights
_BOUND = Function("owner", "sql STABLE", EVERYONE)
_SIGNED_IN = Function("resolver", f"sql STABLE SECURITY DEFINER {_PLAIN}", "app worker eraser")
_HOT = Function("owner", "plpgsql VOLATILE", "app worker")
_FOR_ALL = Function("resolver", f"plpgsql VOLATILE SECURITY DEFINER {_PLAIN}", "app worker")
_LOOK_UP = _FOR_ALL._replace(form=f"sql STABLE SECURITY DEFINER {_PLAIN}")
_FOR_OPERATORS = _FOR_ALL._replace(roles="worker")

FUNCTIONS = {
    "bound_owner()": _BOUND,
    "bound_owners()": _BOUND,
    "bind(uuid)": _FOR_ALL,
    "bind_to_write(uuid)": _FOR_ALL,
    "resolve(text,text,text,boolean,uuid)": _FOR_ALL,
    "link(uuid,text,text)": _FOR_OPERATORS,
    "unlink(text,text,text)": _FOR_OPERATORS._replace(form=f"sql VOLATILE SECURITY DEFINER {_PLAIN}"),
    "configuration(text,text)": _LOOK_UP,
    "api_key(text)": _LOOK_UP._replace(roles="app"),
    "erase(uuid)": _FOR_ALL._replace(owner="eraser"),
    "note_change()": _FOR_ALL._replace(roles=""),
    "read_head(uuid)": _HOT,
    "read_chain(uuid,bigint)": _HOT,
    "save_version(uuid,bigint,text,text,text,text,text,bigint,bigint,timestamp with time zone)": _HOT,
    "read_item(uuid,text,text)": _HOT,
    "set_item(uuid,text,text,text,bigint,timestamp with time zone)": _HOT,
}

SUPABASE_FUNCTIONS = {"signed_in_owner()": _SIGNED_IN, "signed_in_owners()": _SIGNED_IN}
"""Only where `auth.uid()` was there when the schema was migrated."""

BODIES: dict[str, str] = {
    "api_key": "4118fd496befd6b451072c8b0d523790c2229c6aee3c12960decfd2663adec28",
    "bind": "87f0ecc805a4b69114a778b1feacac8e08f48a3404e94255498d2088971a2606",
    "bind_to_write": "3a414557ac2d975e6790bdd0708828086899dfd1aad0bbe28fe4dd1914c6bf3b",
    "bound_owner": "e5a90353476413923a2b9da4f0e699d265162141285fe13661c353c9328e6365",
    "bound_owners": "f2bc8ab107af8c136b5e01bcff726c70c1e3f4a24405d6ae6a71eb2d3f0534aa",
    "configuration": "b76ee33ac57ec621f01fbfdbe03cf315cb2df9175f36c06b12e9dd6062e2b156",
    "erase": "7a2123bfb19b551554fcac7783cfbbb5470303d2a92842662cee58afe29c405b",
    "link": "08d798537e7e6e71bbbdab6dcd00250502b681a37c45f1cf954d63cf458de106",
    "note_change": "1600c1592a2163cc086d6dac6da01fc341cf24131d8e2f1e717b10ccdd40aa87",
    "read_chain": "95bfa109c568d3216787e5fc1ce8dc96ae8167c47c05303ee56fd89bf1b5a560",
    "read_head": "c4938281a7a02882b90215125532cf6f53479ca6679ead658431e8cc80f0aca3",
    "read_item": "67d746e83caae4f90c31ec8d57c23f16540b4767f046e0ee7856f9efd1b958b7",
    "resolve": "14bf9b5b8f48ce07129dcfc9c4ed0705f63f0414edfebab6ba4503739a4d0843",
    "save_version": "4ad991675e019762c2f36606cb24b55fc4a9f1f5fd7cd126ee976f3254f10b88",
    "set_item": "427b06200c0c390bea313834a30d1547e82ed60e3b7ad1089bff18b1ae3dc091",
    "unlink": "fb52cc25e57eea3d05db59dd9eb1ba19c1f37d0ad605fba7c7b48a1b563c353f",
}
"""The SHA-256 of every function's body, by the function's name."""

SUPABASE_BODIES: dict[str, str] = {
    "bound_owner": "bfd0a20a3f8da62820390d9768f1a4aeff9135e711e473e39623e73492e059db",
    "bound_owners": "543ff70e716816fe85d1b323d96325aee0bc6015a9a42e5b660ac51ef99a96f0",
    "signed_in_owner": "9ee48faaec8ed956eaae9a47dcedd6cafb23d96f34a26ed064e9bd320ee871d0",
    "signed_in_owners": "60d026656187291b8c1a356bd18d321349ae0cd74d6e631982da993142f3f0f5",
}
"""The same for the functions that are others on Supabase."""


def expected(prefix: str, *, on_supabase: bool) -> frozenset[Fact]:
    """Return every fact of a migrated schema whose roles begin with `prefix`."""
    parts = _roles(prefix), _schema(prefix), _tables(prefix), _functions(prefix, on_supabase)
    return frozenset(chain.from_iterable(parts)) | {("this session", "session_replication_role = origin")}


def _roles(prefix: str) -> Iterator[Fact]:
    for role in LOGIN_ROLES:
        yield f"role {prefix}_{role}", "the attribute LOGIN"
    for role in NOLOGIN_ROLES:
        yield f"role {prefix}_{role}", "the attribute NOLOGIN"


def _schema(prefix: str) -> Iterator[Fact]:
    yield "schema usermemory", f"the owner {prefix}_owner"
    yield from _granted("schema usermemory", EVERYONE, "USAGE", prefix)


def _tables(prefix: str) -> Iterator[Fact]:
    for table in metadata.sorted_tables:
        rights = {"content": CONTENT, "log": LOG}.get(table.info["class"]) or DIRECTORY[table.name]
        name = f"table usermemory.{table.name}"
        yield name, f"the owner {prefix}_owner"
        yield name, "row security"
        yield name, "forced row security"
        for policy in rights.policies:
            yield name, _printed(policy, prefix)
        for roles, what in rights.grants.items():
            yield from _granted(name, roles, what, prefix)
        for constraint in table.constraints:
            if not isinstance(constraint, sa.CheckConstraint):
                yield name, f"the key {_key(constraint)}"
        if table.name in TRIGGERS:
            yield name, _trigger(table.name)
    for sequence in SEQUENCES:
        yield f"sequence usermemory.{sequence}", f"the owner {prefix}_owner"
    yield "table usermemory.migrations", f"the owner {prefix}_owner"
    yield "table usermemory.migrations", "the key PRIMARY KEY (version_num)"
    yield from _granted("table usermemory.migrations", "app worker", "SELECT", prefix)


def _functions(prefix: str, on_supabase: bool) -> Iterator[Fact]:
    bodies = BODIES | (SUPABASE_BODIES if on_supabase else {})
    for signature, function in (FUNCTIONS | (SUPABASE_FUNCTIONS if on_supabase else {})).items():
        name = f"function usermemory.{signature}"
        yield name, f"the owner {prefix}_{function.owner}"
        yield name, f"the form {function.form}"
        yield name, f"the body {bodies[signature.partition('(')[0]]}"
        yield from _granted(name, function.roles, "EXECUTE", prefix)


def _granted(name: str, roles: str, rights: str, prefix: str) -> Iterator[Fact]:
    for role in roles.split():
        for right in rights.split():
            yield name, f"the right {right} for {prefix}_{role}"


def _printed(policy: Policy, prefix: str) -> str:
    roles = ", ".join(sorted(f"{prefix}_{role}" for role in policy.roles.split()))
    using = f" USING {policy.using}" if policy.using else ""
    check = f" WITH CHECK {policy.check}" if policy.check else ""
    return f"the policy {policy.name} FOR {policy.command} TO {roles}{using}{check}"


def _trigger(table: str) -> str:
    """Return a trigger as PostgreSQL prints it."""
    commands, changed = TRIGGERS[table]
    return (
        f"the trigger note_change: CREATE TRIGGER note_change AFTER {commands} ON usermemory.{table} FOR EACH ROW"
        f" EXECUTE FUNCTION usermemory.note_change('{changed}')"
    )


def _key(constraint: sa.Constraint) -> str:
    """Return a primary, unique or foreign key as PostgreSQL prints it: without CASCADE, which would hide a table."""
    assert isinstance(constraint, sa.PrimaryKeyConstraint | sa.UniqueConstraint | sa.ForeignKeyConstraint)
    columns = ", ".join(column.name for column in constraint.columns)
    if isinstance(constraint, sa.ForeignKeyConstraint):
        there = ", ".join(element.column.name for element in constraint.elements)
        return f"FOREIGN KEY ({columns}) REFERENCES usermemory.{constraint.referred_table.name}({there})"
    return f"{'PRIMARY KEY' if isinstance(constraint, sa.PrimaryKeyConstraint) else 'UNIQUE'} ({columns})"
