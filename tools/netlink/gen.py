#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Writes what follows from Documentation/netlink/kerrighed.yaml.

Four files, all committed: the uapi header, the kernel's policy and operation tables (.c and .h) and the reference
page. Nothing else in the tree knows attribute numbers. The generator checks the specification and refuses what it does
not understand; it decides nothing about the interface itself.

    tools/netlink/gen.py            write the files
    tools/netlink/gen.py --check    say whether the committed files agree (exit 1 if not)
"""
import argparse
import pathlib
import sys

import yaml

TOP = pathlib.Path(__file__).resolve().parents[2]
SPEC = "Documentation/netlink/kerrighed.yaml"
UAPI = "include/uapi/linux/kerrighed.h"
POLICY_H = "kernel/generated/netlink-policy.h"
POLICY_C = "kernel/generated/netlink-policy.c"
REFERENCE = "Documentation/netlink-reference.md"
PREFIX = "krg"

SCALARS = {"u8": "NLA_U8", "u16": "NLA_U16", "u32": "NLA_U32", "u64": "NLA_U64"}
TYPES = set(SCALARS) | {"string", "binary", "flag", "pad"}
CHECKS = {"min", "max", "min-len", "max-len", "exact-len"}


class SpecError(Exception):
    pass


def c_upper(name):
    return name.replace("-", "_").upper()


def c_lower(name):
    return name.replace("-", "_")


class Spec:
    """The specification with every cross-reference checked."""

    def __init__(self, text):
        raw = yaml.safe_load(text)
        known = {"name", "protocol", "version", "uapi-header", "doc", "definitions", "attribute-sets", "operations",
                 "mcast-groups"}
        self.reject_unknown("the specification", raw, known)
        if raw["protocol"] != "genetlink":
            raise SpecError("only protocol genetlink is supported")
        self.name, self.version, self.doc = raw["name"], raw["version"], raw["doc"]
        self.consts, self.enums, self.sets = {}, {}, {}
        for item in raw["definitions"]:
            self.add_definition(item)
        for item in raw["attribute-sets"]:
            self.add_set(item)
        self.groups = raw["mcast-groups"]
        self.ops = [self.checked_op(number, op) for number, op in enumerate(raw["operations"], 1)]

    @staticmethod
    def reject_unknown(where, mapping, known):
        extra = set(mapping) - known
        if extra:
            raise SpecError(f"{where}: unknown key {', '.join(sorted(extra))}")

    def add_definition(self, item):
        where = f"definition {item['name']}"
        if item["type"] == "const":
            self.reject_unknown(where, item, {"name", "type", "value", "doc"})
            self.consts[item["name"]] = item
            return
        if item["type"] not in ("enum", "flags"):
            raise SpecError(f"{where}: unknown type {item['type']}")
        self.reject_unknown(where, item, {"name", "type", "doc", "entries"})
        value = 0
        for entry in item["entries"]:
            self.reject_unknown(where, entry, {"name", "value", "doc"})
            value = entry.setdefault("value", value)
            value += 1
        self.enums[item["name"]] = item

    def add_set(self, item):
        where = f"attribute set {item['name']}"
        self.reject_unknown(where, item, {"name", "doc", "attributes"})
        attributes = {}
        for number, attr in enumerate(item["attributes"], 1):
            here = f"{where}, attribute {attr['name']}"
            self.reject_unknown(here, attr, {"name", "type", "enum", "checks", "multi-attr", "doc"})
            if attr["type"] not in TYPES:
                raise SpecError(f"{here}: unknown type {attr['type']}")
            if attr.get("enum", next(iter(self.enums))) not in self.enums:
                raise SpecError(f"{here}: unknown enum {attr['enum']}")
            self.reject_unknown(here, attr.get("checks", {}), CHECKS)
            if attr["type"] != "pad" and "doc" not in attr:
                raise SpecError(f"{here}: needs a doc")
            attr["number"] = number
            attributes[attr["name"]] = attr
        item["attributes"] = attributes
        self.sets[item["name"]] = item

    def checked_op(self, number, op):
        where = f"operation {op['name']}"
        self.reject_unknown(where, op, {"name", "attribute-set", "flags", "doc", "do", "dump", "mcgrp", "event"})
        if op["attribute-set"] not in self.sets:
            raise SpecError(f"{where}: unknown attribute set {op['attribute-set']}")
        attributes = self.sets[op["attribute-set"]]["attributes"]
        for kind in ("do", "dump", "event"):
            for part, names in op.get(kind, {}).items():
                if part not in ("request", "reply", "attributes"):
                    raise SpecError(f"{where}: unknown part {kind}/{part}")
                for name in names:
                    if name not in attributes:
                        raise SpecError(f"{where}: {kind}/{part} names the unknown attribute {name}")
        if op.get("dump", {}).get("request"):
            raise SpecError(f"{where}: dump requests with attributes are not supported")
        op["number"] = number
        return op

    def value(self, what):
        """A check's limit as it stands in C: a literal or the name of a constant."""
        if isinstance(what, int):
            return str(what)
        if what not in self.consts:
            raise SpecError(f"unknown constant {what}")
        return f"{PREFIX}_{what}".replace("-", "_").upper()

    def number(self, what):
        return what if isinstance(what, int) else self.consts[what]["value"]


def attr_const(set_name, attr_name):
    return c_upper(f"{PREFIX}-a-{set_name}-{attr_name}")


def comment(lines, indent=""):
    """A C comment in kernel style, wrapped by hand in the specification."""
    out = [f"{indent}/*"]
    out += [f"{indent} *{line}" if line.startswith("\t") else f"{indent} * {line}".rstrip() for line in lines]
    return out + [f"{indent} */"]


def type_text(spec, attr):
    text = attr["type"]
    checks = {key: spec.number(value) for key, value in attr.get("checks", {}).items()}
    if "exact-len" in checks:
        text += f", {checks['exact-len']} bytes"
    if "max-len" in checks:
        text += f", {checks.get('min-len', 0)}-{checks['max-len']} bytes"
    if "max" in checks:
        text += f", {checks.get('min', 0)}-{checks['max']}"
    if "enum" in attr:
        text += f", {attr['enum']}"
    if attr.get("multi-attr"):
        text += ", may be repeated"
    return text


def aligned(name, value, width):
    tabs = max(1, (width - 8 - len(name) + 7) // 8)
    return "#define " + name + "\t" * tabs + value


def write_uapi(spec):
    out = ["/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */"]
    head = [f"Generic netlink family \"{spec.name}\": the interface between Kerrighed's kernel",
            "module and the tools. Generated by tools/netlink/gen.py from",
            f"{SPEC}; do not edit.", ""]
    for paragraph in spec.doc.strip().split("\n\n"):
        head += wrap(paragraph, 75) + [""]
    out += comment(head[:-1])
    out += ["#ifndef _UAPI_LINUX_KERRIGHED_H", "#define _UAPI_LINUX_KERRIGHED_H", ""]
    out += [aligned("KRG_GENL_NAME", f'"{spec.name}"', 40), aligned("KRG_GENL_VERSION", str(spec.version), 40)]
    out += [aligned(c_upper(f"KRG_MCGRP_{group['name']}"), f'"{group["name"]}"', 40) for group in spec.groups]
    out += [""]
    for const in spec.consts.values():
        out.append(f"/* {const['doc']} */")
        out.append(aligned(c_upper(f"{PREFIX}-{const['name']}"), str(const["value"]), 40))
    for enum in spec.enums.values():
        out += [""] + uapi_enum(enum)
    for item in spec.sets.values():
        out += [""] + uapi_set(spec, item)
    out += [""] + uapi_ops(spec)
    return "\n".join(out + ["", "#endif", ""])


def wrap(text, width):
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return lines + [line]


def uapi_enum(enum):
    prefix = f"{PREFIX}-{enum['name']}"
    lines = [f"enum {c_lower(prefix)} - {enum['doc']}"]
    lines += [f"@{c_upper(prefix)}_{c_upper(e['name'])}: {e['doc']}" for e in enum["entries"]]
    lines[0:1] = [lines[0] + ("; values are bits" if enum["type"] == "flags" else "")]
    out = comment([part for line in lines for part in wrap_kdoc(line)])
    out[0] = "/**"
    out.append(f"enum {c_lower(prefix)} {{")
    for entry in enum["entries"]:
        value = f"1 << {entry['value']}" if enum["type"] == "flags" else str(entry["value"])
        out.append(f"\t{c_upper(prefix)}_{c_upper(entry['name'])} = {value},")
    if enum["type"] == "enum":
        out += ["\t/* private: */", f"\t__{c_upper(prefix)}_MAX,",
                f"\t{c_upper(prefix)}_MAX = __{c_upper(prefix)}_MAX - 1"]
    return out + ["};"]


def wrap_kdoc(line):
    parts = wrap(line, 76)
    return [parts[0]] + [f"\t{part}" for part in parts[1:]]


def uapi_set(spec, item):
    lines = [f"Attributes {c_upper('krg-a-' + item['name'])}_*: {item['doc']}"]
    for attr in item["attributes"].values():
        if attr["type"] != "pad":
            name = attr_const(item["name"], attr["name"])
            lines += wrap_kdoc(f"{name} ({type_text(spec, attr)}): {attr['doc']}")
    out = comment(lines) + ["enum {", f"\t{attr_const(item['name'], 'unspec')},"]
    out += [f"\t{attr_const(item['name'], attr)}," for attr in item["attributes"]]
    last = attr_const(item["name"], "max")
    return out + ["", f"\t__{last},", f"\t{last} = __{last} - 1", "};"]


def uapi_ops(spec):
    lines = ["Commands. \"admin\": needs CAP_SYS_ADMIN.", ""]
    for op in spec.ops:
        kinds = [kind for kind in ("do", "dump", "event") if kind in op]
        if "admin-perm" in op.get("flags", []):
            kinds.append("admin")
        lines.append(f"{c_upper('krg-cmd-' + op['name'])} ({', '.join(kinds)}), attributes "
                     f"{c_upper('krg-a-' + op['attribute-set'])}_*:")
        for paragraph in op["doc"].strip().split("\n\n"):
            lines += [f"\t{part}" for part in wrap(paragraph, 68)]
        if op.get("do", {}).get("request"):
            lines += [f"\t{part}" for part in wrap("Request: " + ", ".join(op["do"]["request"]) + ".", 68)]
    out = comment(lines) + ["enum {", "\tKRG_CMD_UNSPEC,"]
    out += [f"\t{c_upper('krg-cmd-' + op['name'])}," for op in spec.ops]
    return out + ["", "\t__KRG_CMD_MAX,", "\tKRG_CMD_MAX = __KRG_CMD_MAX - 1", "};"]


def full_range(spec, attr):
    """The range of an attribute whose limits do not fit the policy itself, which has 16 bits for each.

    Not const: Linux 6.1 declares the pointer without."""
    checks = attr.get("checks", {})
    high = spec.number(checks["max"]) if attr["type"] in SCALARS and "max" in checks else 0
    if high < 1 << 15:
        return []
    low = f"\t.min = {spec.value(checks['min'])},\n" if "min" in checks else ""
    return [f"static struct netlink_range_validation krg_nl_{c_lower(attr['name'])}_range = {{",
            f"{low}\t.max = {spec.value(checks['max'])},", "};", ""]


def policy_entry(spec, attr):
    checks = attr.get("checks", {})
    limit = {key: spec.value(value) for key, value in checks.items()}
    kind = attr["type"]
    if kind in SCALARS:
        nla = SCALARS[kind]
        if "enum" in attr:
            enum = spec.enums[attr["enum"]]
            if enum["type"] != "enum":
                raise SpecError(f"attribute {attr['name']}: a request cannot carry flags")
            limit["max"] = c_upper(f"{PREFIX}-{enum['name']}") + "_MAX"
        if full_range(spec, attr):
            return f"NLA_POLICY_FULL_RANGE({nla}, &krg_nl_{c_lower(attr['name'])}_range)"
        if "min" in limit and "max" in limit:
            return f"NLA_POLICY_RANGE({nla}, {limit['min']}, {limit['max']})"
        if "max" in limit:
            return f"NLA_POLICY_MAX({nla}, {limit['max']})"
        if "min" in limit:
            return f"NLA_POLICY_MIN({nla}, {limit['min']})"
        return f"{{ .type = {nla} }}"
    if kind == "string":
        return f"{{ .type = NLA_NUL_STRING, .len = {limit['max-len']} }}"
    if kind == "binary":
        return f"NLA_POLICY_EXACT_LEN({limit['exact-len']})"
    return "{ .type = NLA_FLAG }"


def banner(what):
    return comment([f"{what} Generated by tools/netlink/gen.py from", f"{SPEC}; do not edit."])


def write_policy_h(spec):
    out = ["/* SPDX-License-Identifier: GPL-2.0 */"]
    out += banner("What kernel/netlink.c implements, and the tables that reach it.")
    out += ["#ifndef KRG_GENERATED_NETLINK_POLICY_H", "#define KRG_GENERATED_NETLINK_POLICY_H", "",
            "#include <net/genetlink.h>", "#include <uapi/linux/kerrighed.h>", ""]
    out += ["enum {"] + [f"\t{c_upper('krg-nl-group-' + group['name'])}," for group in spec.groups] + ["};", ""]
    handlers = [op for op in spec.ops if "do" in op or "dump" in op]
    groups, ops = len(spec.groups), len(handlers)
    out += [f"extern const struct genl_ops krg_nl_ops[{ops}];",
            f"extern const struct genl_multicast_group krg_nl_groups[{groups}];", ""]
    for op in handlers:
        if "do" in op:
            out.append(f"int krg_nl_{c_lower(op['name'])}_doit(struct sk_buff *skb, struct genl_info *info);")
        if "dump" in op:
            out.append(f"int krg_nl_{c_lower(op['name'])}_dumpit(struct sk_buff *skb, struct netlink_callback *cb);")
    return "\n".join(out + ["", "#endif", ""])


def write_policy_c(spec):
    out = ["// SPDX-License-Identifier: GPL-2.0"]
    out += banner("Which attributes each operation takes, and the operation table.")
    out += ['#include "netlink-policy.h"', ""]
    handlers = [op for op in spec.ops if "do" in op or "dump" in op]
    requested = {(op["attribute-set"], name): None for op in handlers for name in op.get("do", {}).get("request", [])}
    for set_name, name in requested:
        out += full_range(spec, spec.sets[set_name]["attributes"][name])
    for op in handlers:
        request = op.get("do", {}).get("request", [])
        if not request:
            continue
        attributes = spec.sets[op["attribute-set"]]["attributes"]
        last = max((attributes[name] for name in request), key=lambda attr: attr["number"])
        size = f"{attr_const(op['attribute-set'], last['name'])} + 1"
        out.append(f"static const struct nla_policy krg_nl_{c_lower(op['name'])}_policy[{size}] = {{")
        for name in sorted(request, key=lambda n: attributes[n]["number"]):
            out.append(f"\t[{attr_const(op['attribute-set'], name)}] = {policy_entry(spec, attributes[name])},")
        out += ["};", ""]
    out += ["/* An operation without attributes. Size 2: the core validates nothing when maxattr is 0. */",
            "static const struct nla_policy krg_nl_empty_policy[2];", ""]
    out.append(f"const struct genl_ops krg_nl_ops[{len(handlers)}] = {{")
    for op in handlers:
        out += policy_op(spec, op)
    out += ["};", "", f"const struct genl_multicast_group krg_nl_groups[{len(spec.groups)}] = {{"]
    out += [f"\t[{c_upper('krg-nl-group-' + g['name'])}] = {{ .name = {c_upper('KRG_MCGRP_' + g['name'])} }},"
            for g in spec.groups]
    return "\n".join(out + ["};", ""])


def policy_op(spec, op):
    name, request = c_lower(op["name"]), op.get("do", {}).get("request", [])
    out = ["\t{", f"\t\t.cmd\t\t= {c_upper('krg-cmd-' + op['name'])},"]
    if request:
        attributes = spec.sets[op["attribute-set"]]["attributes"]
        last = max(request, key=lambda attr: attributes[attr]["number"])
        out += [f"\t\t.policy\t\t= krg_nl_{name}_policy,", f"\t\t.maxattr\t= {attr_const(op['attribute-set'], last)},"]
    else:
        out += ["\t\t.policy\t\t= krg_nl_empty_policy,", "\t\t.maxattr\t= 1,"]
    if "do" in op:
        out.append(f"\t\t.doit\t\t= krg_nl_{name}_doit,")
    if "dump" in op:
        out.append(f"\t\t.dumpit\t\t= krg_nl_{name}_dumpit,")
    if "admin-perm" in op.get("flags", []):
        out.append("\t\t.flags\t\t= GENL_ADMIN_PERM,")
    return out + ["\t},"]


def write_reference(spec):
    out = ["<!-- SPDX-License-Identifier: GPL-2.0 -->",
           f"<!-- Generated by tools/netlink/gen.py from {SPEC}; do not edit. -->", "",
           f"# Netlink reference: family `{spec.name}`, version {spec.version}", "", spec.doc.strip(), "",
           "The header is `include/uapi/linux/kerrighed.h`; names there are formed from the names here: operation",
           "`node-get` is `KRG_CMD_NODE_GET`, attribute `epoch` of set `cluster` is `KRG_A_CLUSTER_EPOCH`, entry `serving`",
           "of `node-state` is `KRG_NODE_STATE_SERVING`.", "", "## Operations", ""]
    out += ["| operation | kinds | needs | attributes |", "|---|---|---|---|"]
    for op in spec.ops:
        kinds = ", ".join(kind for kind in ("do", "dump", "event") if kind in op)
        needs = "CAP_SYS_ADMIN" if "admin-perm" in op.get("flags", []) else "nothing"
        out.append(f"| [`{op['name']}`](#{op['name']}) | {kinds} | {needs} | "
                   f"[`{op['attribute-set']}`](#attributes-{op['attribute-set']}) |")
    for op in spec.ops:
        out += ["", f"### {op['name']}", "", op["doc"].strip(), ""]
        for kind in ("do", "dump", "event"):
            for part, names in op.get(kind, {}).items():
                title = f"{kind} {part}" if part != "attributes" else "attributes"
                out.append(f"- {title}: " + (", ".join(f"`{name}`" for name in names) or "no attributes"))
    out += ["", "## Multicast groups", ""]
    out += [f"- `{group['name']}`: {group['doc']}" for group in spec.groups]
    for item in spec.sets.values():
        out += ["", f"## Attributes: {item['name']}", "", item["doc"][0].upper() + item["doc"][1:] + ".", "",
                "| number | attribute | type | meaning |", "|---|---|---|---|"]
        for attr in item["attributes"].values():
            meaning = attr.get("doc", "alignment, ignored")
            out.append(f"| {attr['number']} | `{attr['name']}` | {type_text(spec, attr)} | {meaning} |")
    out += ["", "## Constants", "", "| constant | value | meaning |", "|---|---|---|"]
    out += [f"| `{const['name']}` | {const['value']} | {const['doc']} |" for const in spec.consts.values()]
    for enum in spec.enums.values():
        out += ["", f"## {enum['type'].capitalize()}: {enum['name']}", "",
                enum["doc"][0].upper() + enum["doc"][1:] + ".", "", "| value | name | meaning |", "|---|---|---|"]
        for entry in enum["entries"]:
            value = 1 << entry["value"] if enum["type"] == "flags" else entry["value"]
            out.append(f"| {value} | `{entry['name']}` | {entry['doc']} |")
    return "\n".join(out + [""])


WRITERS = {UAPI: write_uapi, POLICY_H: write_policy_h, POLICY_C: write_policy_c, REFERENCE: write_reference}


def main():
    parser = argparse.ArgumentParser(description=f"Generate C and documentation from {SPEC}.")
    parser.add_argument("--check", action="store_true", help="only say whether the committed files agree")
    args = parser.parse_args()
    try:
        spec = Spec((TOP / SPEC).read_text())
        texts = {path: writer(spec) for path, writer in WRITERS.items()}
    except (SpecError, KeyError, yaml.YAMLError) as error:
        print(f"gen.py: {SPEC}: {error}", file=sys.stderr)
        return 1
    stale = []
    for path, text in texts.items():
        target = TOP / path
        if target.exists() and target.read_text() == text:
            continue
        stale.append(path)
        if not args.check:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            print(f"wrote {path}")
    if args.check and stale:
        print(f"gen.py: does not agree with {SPEC}: {', '.join(stale)} (run tools/netlink/gen.py)", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
