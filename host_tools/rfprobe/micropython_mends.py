"""What the image build mends of MicroPython 1.25's sources before anything is built of them.

Two faults make machine code for ARMv6-M wrong; the others are short ways for what a tick does most, without which it
takes a third longer. Python means the same with them and without: the firmware also runs on the official image.
"""

from dataclasses import dataclass
from pathlib import Path

from rfprobe.errors import EnvironmentProblem


@dataclass(frozen=True)
class Mend:
    """A place in a source file, found by its text, which must be there once."""

    path: str
    """Below MicroPython's top folder."""
    before: str
    after: str


MENDS = (
    # An offset too large for the short forms of an addition was added to itself in place of the base: native code read
    # what lies behind the 286th or so of its names from nowhere.
    Mend(
        "py/asmthumb.c",
        """\
            asm_thumb_mov_rlo_i16(as, reg_dest, offset << offset_shift);
            asm_thumb_add_rlo_rlo_rlo(as, reg_dest, reg_dest, reg_dest);
""",
        """\
            asm_thumb_mov_rlo_i16(as, reg_dest, offset << offset_shift);
            asm_thumb_add_rlo_rlo_rlo(as, reg_dest, reg_dest, reg_base);
""",
    ),
    # Machine code for ARMv6-M has its 32-bit constants among the instructions and reads them by loads that are aligned
    # to words; frozen, it was only aligned to half-words, and half of all functions read other numbers.
    Mend(
        "tools/mpy-tool.py",
        """\
        if config.native_arch in (
            MP_NATIVE_ARCH_ARMV6,
""",
        """\
        if config.native_arch in (
            MP_NATIVE_ARCH_ARMV6,
            MP_NATIVE_ARCH_ARMV6M,
""",
    ),
    # Looking up a name. With the cache, most names are found where it says: that way needs no division (which a
    # Cortex-M0+ has not) and no registers saved, so it is a function of its own before the whole one.
    Mend(
        "py/map.c",
        "#define MAP_CACHE_GET(map, index) (&(map)->table[MAP_CACHE_ENTRY(index) % (map)->alloc])\n",
        """\
#define MAP_CACHE_GET(map, index) \\
    (&(map)->table[MAP_CACHE_ENTRY(index) < (map)->alloc ? MAP_CACHE_ENTRY(index) : 0])
""",
    ),
    Mend(
        "py/map.c",
        "static void mp_map_rehash(mp_map_t *map) {\n",
        """\
static mp_map_elem_t *map_lookup_whole(mp_map_t *map, mp_obj_t index, mp_map_lookup_kind_t lookup_kind);

static void mp_map_rehash(mp_map_t *map) {
""",
    ),
    Mend(
        "py/map.c",
        """\
    #endif

    // Work out if we can compare just pointers
    bool compare_only_ptrs = map->all_keys_are_qstrs;
""",
        """\
    #endif
    return map_lookup_whole(map, index, lookup_kind);
}

static MP_NOINLINE mp_map_elem_t *map_lookup_whole(mp_map_t *map, mp_obj_t index, mp_map_lookup_kind_t lookup_kind) {
    // Work out if we can compare just pointers
    bool compare_only_ptrs = map->all_keys_are_qstrs;
""",
    ),
    # A method is no member of its instance, and that must be found out at each call: by a table that is never more than
    # two thirds full, so that the search for what is not there soon comes to a free place, and without division.
    Mend(
        "py/map.c",
        """\
            if (lookup_kind == MP_MAP_LOOKUP_ADD_IF_NOT_FOUND) {
                map->used += 1;
""",
        """\
            if (lookup_kind == MP_MAP_LOOKUP_ADD_IF_NOT_FOUND) {
                if (avail_slot == NULL && 3 * map->used >= 2 * map->alloc) {
                    mp_map_rehash(map);
                    start_pos = pos = hash % map->alloc;
                    continue;
                }
                map->used += 1;
""",
    ),
    Mend(
        "py/map.c",
        """\
        // not yet found, keep searching in this table
        pos = (pos + 1) % map->alloc;
""",
        """\
        // not yet found, keep searching in this table
        pos = pos + 1 < map->alloc ? pos + 1 : 0;
""",
    ),
    # Attributes and methods of instances of classes written in Python, the way the bytecode interpreter has for
    # attributes already: members first, then the class's own dictionary.
    Mend(
        "py/runtime.c",
        """\
mp_obj_t mp_load_attr(mp_obj_t base, qstr attr) {
""",
        """\
static inline mp_map_t *members_of(mp_obj_t obj) {
    if (!mp_obj_is_obj(obj) || !mp_obj_is_instance_type(((mp_obj_base_t *)MP_OBJ_TO_PTR(obj))->type)) {
        return NULL;
    }
    return &((mp_obj_instance_t *)MP_OBJ_TO_PTR(obj))->members;
}

mp_obj_t mp_load_attr(mp_obj_t base, qstr attr) {
    mp_map_t *members = members_of(base);
    if (members != NULL) {
        mp_map_elem_t *elem = mp_map_lookup(members, MP_OBJ_NEW_QSTR(attr), MP_MAP_LOOKUP);
        if (elem != NULL) {
            return elem->value;
        }
    }
""",
    ),
    Mend(
        "py/runtime.c",
        """\
void mp_load_method_maybe(mp_obj_t obj, qstr attr, mp_obj_t *dest) {
    // clear output to indicate no attribute/method found yet
    dest[0] = MP_OBJ_NULL;
    dest[1] = MP_OBJ_NULL;
""",
        """\
void mp_load_method_maybe(mp_obj_t obj, qstr attr, mp_obj_t *dest) {
    // clear output to indicate no attribute/method found yet
    dest[0] = MP_OBJ_NULL;
    dest[1] = MP_OBJ_NULL;

    mp_map_t *members = members_of(obj);
    if (members != NULL) {
        mp_map_elem_t *elem = mp_map_lookup(members, MP_OBJ_NEW_QSTR(attr), MP_MAP_LOOKUP);
        if (elem != NULL) {
            dest[0] = elem->value;
            return;
        }
        const mp_obj_type_t *of = ((mp_obj_base_t *)MP_OBJ_TO_PTR(obj))->type;
        if (!(of->flags & MP_TYPE_FLAG_HAS_SPECIAL_ACCESSORS) && MP_OBJ_TYPE_HAS_SLOT(of, locals_dict)) {
            elem = mp_map_lookup(&MP_OBJ_TYPE_GET_SLOT(of, locals_dict)->map, MP_OBJ_NEW_QSTR(attr), MP_MAP_LOOKUP);
            if (elem != NULL) {
                mp_convert_member_lookup(obj, of, elem->value, dest);
                return;
            }
        }
    }
""",
    ),
    # Sums, differences and comparisons of small integers.
    Mend(
        "py/runtime.c",
        """\
mp_obj_t MICROPY_WRAP_MP_BINARY_OP(mp_binary_op)(mp_binary_op_t op, mp_obj_t lhs, mp_obj_t rhs) {
""",
        """\
static mp_obj_t binary_op_whole(mp_binary_op_t op, mp_obj_t lhs, mp_obj_t rhs);

mp_obj_t MICROPY_WRAP_MP_BINARY_OP(mp_binary_op)(mp_binary_op_t op, mp_obj_t lhs, mp_obj_t rhs) {
    if (mp_obj_is_small_int(lhs) && mp_obj_is_small_int(rhs)) {
        mp_int_t value = MP_OBJ_SMALL_INT_VALUE(lhs);
        switch (op) {
            case MP_BINARY_OP_LESS:
                return mp_obj_new_bool((mp_int_t)lhs < (mp_int_t)rhs);
            case MP_BINARY_OP_MORE:
                return mp_obj_new_bool((mp_int_t)lhs > (mp_int_t)rhs);
            case MP_BINARY_OP_LESS_EQUAL:
                return mp_obj_new_bool((mp_int_t)lhs <= (mp_int_t)rhs);
            case MP_BINARY_OP_MORE_EQUAL:
                return mp_obj_new_bool((mp_int_t)lhs >= (mp_int_t)rhs);
            case MP_BINARY_OP_EQUAL:
                return mp_obj_new_bool(lhs == rhs);
            case MP_BINARY_OP_NOT_EQUAL:
                return mp_obj_new_bool(lhs != rhs);
            case MP_BINARY_OP_AND:
            case MP_BINARY_OP_INPLACE_AND:
                return (mp_obj_t)((mp_uint_t)lhs & (mp_uint_t)rhs);
            case MP_BINARY_OP_ADD:
            case MP_BINARY_OP_INPLACE_ADD:
                value += MP_OBJ_SMALL_INT_VALUE(rhs);
                break;
            case MP_BINARY_OP_SUBTRACT:
            case MP_BINARY_OP_INPLACE_SUBTRACT:
                value -= MP_OBJ_SMALL_INT_VALUE(rhs);
                break;
            default:
                return binary_op_whole(op, lhs, rhs);
        }
        if (MP_SMALL_INT_FITS(value)) {
            return MP_OBJ_NEW_SMALL_INT(value);
        }
    }
    return binary_op_whole(op, lhs, rhs);
}

static MP_NOINLINE mp_obj_t binary_op_whole(mp_binary_op_t op, mp_obj_t lhs, mp_obj_t rhs) {
""",
    ),
    # Calling a native function that takes up to three positional arguments and nothing else: its prelude is one byte
    # for the signature (py/bc.h: xSSSSEAA) and one for the sizes (xIIIIIIC).
    Mend(
        "py/bc.c",
        """\
    code_state->ip = mp_obj_fun_native_get_prelude_ptr(code_state->fun_bc);
    code_state->sp = &code_state->state[0] - 1;
""",
        """\
    const byte *prelude = mp_obj_fun_native_get_prelude_ptr(code_state->fun_bc);
    code_state->ip = prelude;
    code_state->sp = &code_state->state[0] - 1;
    if (n_kw == 0 && !(prelude[0] & 0x80) && (prelude[0] & 3) == n_args && !(prelude[1] & 0x81)) {
        code_state->exc_sp_idx = 0;
        mp_obj_t *local = &code_state->state[code_state->n_state];
        for (size_t i = 0; i < n_args; i++) {
            *--local = args[i];
        }
        while (local > &code_state->state[0]) {
            *--local = MP_OBJ_NULL;
        }
        code_state->ip = prelude + 2 + (prelude[1] >> 1);
        return;
    }
""",
    ),
)


def mend_sources(micropython: Path) -> None:
    """Apply all MENDS below a MicroPython tree; EnvironmentProblem if it is not the one they were made for."""
    for mend in MENDS:
        path = micropython / mend.path
        text = path.read_text()
        if text.count(mend.before) != 1:
            raise EnvironmentProblem(
                f"MicroPython's {mend.path} is not the one that this build mends: its release is another than 1.25"
            )
        path.write_text(text.replace(mend.before, mend.after))
