#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the corpus of each fuzz target reaches of the decoder that it is for, in lines and branches.

usage: fuzz_coverage.py [--write] [--missing] [TARGET]...

Builds the flavour `cover`, runs every target once over tests/fuzz/corpus/TARGET and reads llvm-cov. --write puts the table into
docs/design/fuzzing.md, --missing lists the lines that nothing reaches. Lines of encoders in the same file are left out: they are in
the functions that DECODERS does not name.
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent
PAGE = root / "docs/design/fuzzing.md"
BEGIN, END = "<!-- table: tools/fuzz_coverage.py --write -->", "<!-- end of the table -->"
# Target: the decoder's own files, each with a pattern of the functions that count; None: all of them.
ENCODES = r"(?!.*(?:encode|_to_json|set_|append|writer|fini|text_of|create|destroy))"
DECODERS = {
    "agent_files": {"src/snapshot/journal.c": r".*(?:open|find|read|check|next|load|drop|keep|refs)", "src/snapshot/capture_files.c": r".*line"},
    "agent_state": {"src/agent/state.c": r"(?!.*(?:note$|note_|forget|has_task|journal|cache)).*"},
    "base64": {"src/codec/base64.c": r".*decode.*|value_of"},
    "decompress": {"src/codec/compress.c": r".*decompress.*"},
    "digest_header": {"src/net/digest_fields.c": None},
    "file_list": {"src/format/filelist.c": ENCODES + ".*"},
    "footer": {"src/format/footer.c": ENCODES + "(?!kind_byte|hf_footer_memory).*"},
    "json": {"src/codec/json_text.c": r".*decode.*|refuse.*"},
    "manifest": {"src/format/manifest.c": ENCODES + r"(?!.*(?:seal_kind|compute)).*", "src/format/envelope.c": r"hf_envelope_read"},
    "message": {"src/format/message.c": r".*(?:decode|from_json|open_|ids_from|code_).*", "src/format/message_task.c": r".*(?:from_json|decode).*",
                "src/format/message_oplog.c": r".*(?:from_json|decode).*", "src/format/message_point.c": r".*(?:from_json|_get)",
                "src/format/facts.c": r".*from_json", "src/format/field.c": ENCODES + ".*"},
    "mongo_reply": {"src/mongo/backup_reply.c": None, "src/mongo/reply.c": None, "src/mongo/facts.c": r".*parse.*", "src/mongo/topology.c": r".*parse.*"},
    "node": {"src/format/node.c": r".*decode.*", "src/format/block.c": r"hf_ref_decode"},
    "object_name": {"src/format/ids.c": r".*parse.*|.*read.*|.*take.*"},
    "oplog_entry": {"src/oplog/entry.c": None},
    "options": {"src/config/parse.c": None, "src/config/value.c": None},
    "query_string": {"src/net/url.c": ENCODES + r"(?!.*add_parameter).*"},
    "record": {"src/backup/fields.c": r".*decode.*"},
    "sandbox_query": {"src/sandbox/match.c": None, "src/sandbox/update.c": None},
    "sandbox_wire": {"src/sandbox/wire.c": r".*(?:decode|parse|read|check).*"},
    "server_answer": {"src/store/remote.c": r"(?!.*(?:open|close|remove)).*", "src/agent/link.c": r"(?!.*(?:create|destroy)).*",
                      "src/net/http_reply.c": r"(?!.*(?:fail_curl|first_line)).*"},
    "server_api": {"src/server/front.c": r"(?!.*(?:wake_poll|on_gone|front_waiting|on_refuse|challenge)).*", "src/server/objects.c": None,
                   "src/server/rights.c": r"(?!.*(?:create|destroy)).*",
                   # Not what needs thousands of agents, or a time that passes.
                   "src/server/agents.c": r"(?!.*(?:create|destroy|has_open_task|remove_document|make_room|touch_agent)).*",
                   "src/server/api_public.c": None, "src/server/api_private.c": None, "src/server/reply.c": r"hf_call_(?!flag).*|page_path"},
    "slice": {"src/format/slice.c": ENCODES + r"(?!.*(?:hasher|hash_|cause_|_text|check_head|derive)).*"},
    "small_object": {"src/format/claim.c": r".*decode.*", "src/format/storemark.c": r".*decode.*", "src/format/wrapped.c": r".*(?:decode|unwrap|open|from|parse).*",
                     "src/format/keyring.c": r".*(?:from_json|get_).*", "src/format/envelope.c": r"hf_envelope_read.*"},
    "stored_block": {"src/format/block.c": r"hf_block_open|open_.*|find_key|set_key|use_key"},
    "time": {"src/os/clock.c": r".*parse.*|.*digits.*|.*read.*"},
    "tree_root": {"src/format/treeroot.c": r".*decode.*"},
}


def tool(name):
    found = shutil.which(name + "-14") or shutil.which(name)
    if not found:
        sys.exit(f"fuzz_coverage.py: no {name}; hint: apt install llvm-14")
    return found


def run(command, **kwargs):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, errors="replace", **kwargs)
    if done.returncode != 0:
        sys.exit(f"fuzz_coverage.py: {' '.join(map(str, command))}\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def counts(line):
    return line not in ("", "{", "}", "};", "} else {") and not line.startswith("#") and "HF_ERR_NO_MEMORY" not in line


def measure(target, work):
    """For each of the decoder's files: lines and branches reached and all, and the missed lines."""
    program = root / f"build/cover/tests/fuzz/{target}_fuzz"
    raw, profile = work / f"{target}.profraw", work / f"{target}.profdata"
    run([program, *sorted((root / "tests/fuzz/corpus" / target).glob("*"))], env={"LLVM_PROFILE_FILE": str(raw), "PATH": "/usr/bin:/bin"}, cwd=work)
    run([tool("llvm-profdata"), "merge", "-sparse", raw, "-o", profile])
    rows = {}
    for file, pattern in DECODERS.get(target, {}).items():
        if not (root / file).exists():
            continue
        text = run([tool("llvm-cov"), "export", "-instr-profile", profile, program, root / file])
        functions = json.loads(text)["data"][0]["functions"]
        lines, branches = {}, {}
        for function in functions:
            name = function["name"].split(":")[-1]
            if not function["filenames"][0].endswith(file) or (pattern and not re.fullmatch(pattern, name)):
                continue
            for first, _, last, end, count, _, _, kind in function["regions"]:
                if kind == 0:  # code; an inner region has its own count
                    for line in range(first, last + (end > 1)):
                        inner = lines.get(line)
                        lines[line] = count if inner is None or last - first < inner[1] else inner[0], last - first if inner is None else min(inner[1], last - first)
                        lines[line] = (lines[line][0], lines[line][1])
            for first, column, _, _, taken, other, *_ in function["branches"]:
                key = (first, column)
                before = branches.get(key, (0, 0))
                branches[key] = (before[0] + taken, before[1] + other)
        source = (root / file).read_text().splitlines()
        # Lines that hold code: no braces alone, no failure of memory, which nothing from outside brings about.
        code = {n: hit[0] for n, hit in lines.items() if counts(source[n - 1].strip())}
        missed = sorted(n for n, count in code.items() if count == 0)
        taken = sum((a > 0) + (b > 0) for a, b in branches.values())
        rows[file] = (len(code) - len(missed), len(code), taken, 2 * len(branches), [(n, source[n - 1]) for n in missed])
    return rows


def main():
    words = sys.argv[1:]
    wanted = [word for word in words if not word.startswith("-")]
    run([root / "tools/build.sh", "cover"])
    work = root / "build/cover/coverage"
    work.mkdir(parents=True, exist_ok=True)
    table = ["| target | inputs | decoder | lines | | branches | |", "|---|---|---|---|---|---|---|"]
    for program in sorted((root / "build/cover/tests/fuzz").glob("*_fuzz")):
        target = program.name.removesuffix("_fuzz")
        if wanted and target not in wanted:
            continue
        corpus = list((root / "tests/fuzz/corpus" / target).glob("*"))
        for file, (hit, lines, taken, branches, missed) in measure(target, work).items():
            row = (f"| `{target}` | {len(corpus)} | `{file}` | {hit} of {lines} | {100 * hit // max(lines, 1)} % "
                   f"| {taken} of {branches} | {100 * taken // max(branches, 1)} % |")
            table.append(row)
            print(row, flush=True)
            if "--missing" in words:
                print("\n".join(f"      {number}: {text}" for number, text in missed))
    if "--write" in words and not wanted:
        page = PAGE.read_text()
        head, rest = page.split(BEGIN)
        PAGE.write_text(head + BEGIN + "\n" + "\n".join(table) + "\n" + END + rest.split(END)[1])


main()
