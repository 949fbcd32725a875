#!/usr/bin/env python3
"""The house rules as a test: arrows, the ban list, tests that no target builds, snippets, dependencies.

usage: check_house.py ROOT TEST_SOURCES_FILE [RULE]
Prints one line per violation (file:line: what and the way out) and exits 1 when there is any.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(sys.argv[1]).resolve()
TEST_SOURCES = pathlib.Path(sys.argv[2])

# folder -> what its sources may include as <hufu/NAME/…> beside its own. tests, bench and samples see everything below connect.
ADAPTERS = {"sqlite", "postgres", "redis", "rocketmq", "kafka", "beast"}
ARROWS = {
    "core": set(),
    "outbox": {"core"},
    "idempotency": {"core"},
    "txmsg": {"core"},
    "forward": {"core"},
    "degradation": {"core"},
    "deadletter": {"core"},
    "remoting": {"core"},
    "broker-embedded": {"core", "remoting"},
    "adapters/sqlite": {"core", "outbox", "idempotency", "txmsg"},
    "adapters/postgres": {"core", "outbox", "idempotency", "txmsg"},
    "adapters/redis": {"core", "idempotency", "degradation"},
    "adapters/rocketmq": {"core", "deadletter", "remoting", "txmsg"},
    "adapters/kafka": {"core", "deadletter"},
    "adapters/beast": {"core", "idempotency"},
    "connect": {"core", "outbox", "idempotency", "txmsg", "degradation", "deadletter", "remoting", "broker"} | ADAPTERS,
    "cli": {"core", "outbox", "idempotency", "txmsg", "forward", "degradation", "deadletter", "connect"} | ADAPTERS,
    "samples/order-service": {"core", "outbox", "idempotency", "txmsg", "degradation", "connect"} | ADAPTERS,
}
MODULE_OF_FOLDER = {"broker-embedded": "broker"}
TESTING = {"testing", "test_support"}

# Only this file may read clocks, sleep, or draw chance.
TIME_AND_CHANCE = "core/src/system.cpp"
BANNED = [
    (r"(steady|system|high_resolution)_clock::now\s*\(", "reads a clock: take a hufu::Clock&"),
    (r"\b(clock_gettime|gettimeofday)\s*\(", "reads a clock: take a hufu::Clock&"),
    (r"\bstd::time\s*\(|(?<![\w:.>])::time\s*\(", "reads a clock: take a hufu::Clock&"),
    (r"\bthis_thread::sleep_|\b(usleep|nanosleep)\s*\(|(?<![\w:.>])::sleep\s*\(",
     "sleeps: wait on a condition, or use Clock::sleep_until"),
    (r"std::random_device|\b(std::)?s?rand\s*\(|std::mt19937", "draws chance: take a hufu::Random&"),
    (r"\b(TODO|FIXME|XXX)\b", "unfinished: finish it or refuse it clearly at run time"),
]
# Third-party headers in public headers: only in the adapter that owns them.
THIRD_PARTY = {
    "pqxx": "adapters/postgres", "libpq-fe.h": "adapters/postgres", "sqlite3.h": "adapters/sqlite", "librdkafka": None,
    "boost/asio": None, "boost/beast": "adapters/beast", "boost/json": None, "nlohmann": None, "spdlog": None, "fmt": None,
    "toml++": None, "hiredis": None, "CLI": None,
}

problems = []


def complain(path, line, text):
    problems.append(f"{path}:{line}: {text}")


def tracked():
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    return [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file() and "build" not in p.parts]


def folder_of(name):
    for folder in sorted(ARROWS, key=len, reverse=True):
        if name.startswith(folder + "/"):
            return folder
    return None


def strip_comment(line):
    return re.sub(r'"(\\.|[^"\\])*"', '""', line).split("//", 1)[0]


def check_sources(names):
    for name in names:
        if not name.endswith((".cpp", ".hpp")):
            continue
        folder = folder_of(name)
        public = "/include/hufu/" in name
        in_tests = "/tests/" in name or name.startswith(("tests/", "bench/")) or "/testing/" in name
        is_broker_program = name.startswith("broker-embedded/")
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1):
            included = re.match(r"\s*#\s*include\s*[<\"]([^>\"]+)[>\"]", line)
            if included:
                target = included.group(1)
                module = re.match(r"hufu/([\w]+)/", target)
                if module and folder and not in_tests:
                    own = MODULE_OF_FOLDER.get(folder, folder.split("/")[-1])
                    wanted = module.group(1)
                    if wanted != own and wanted not in ARROWS[folder]:
                        complain(name, number, f"{folder} may not include {target} (docs/architecture.md, Arrows)")
                if module and module.group(1) == "broker" and not in_tests and folder not in ("connect",) and not is_broker_program:
                    complain(name, number, "only connect, tests and bench include the bundled broker")
                if public:
                    for prefix, owner in THIRD_PARTY.items():
                        if (target == prefix or target.startswith(prefix + "/")) and folder != owner:
                            complain(name, number, f"third-party <{target}> in a public header: move it into a .cpp file")
                if target.startswith("../"):
                    complain(name, number, f'include "{target}" climbs out of its folder')
                continue
            if name == TIME_AND_CHANCE:
                continue
            code = strip_comment(line)
            for pattern, why in BANNED:
                if re.search(pattern, code if "TODO" not in pattern else line):
                    complain(name, number, why)


def check_tests_are_built(names):
    built = {str(pathlib.Path(p).resolve()) for p in TEST_SOURCES.read_text().split()}
    for name in names:
        if name.endswith("_test.cpp") and "tests/install/" not in name and str((ROOT / name).resolve()) not in built:
            complain(name, 1, "no target builds this test: name it in its folder's CMakeLists.txt (hufu_test)")


def check_length(names):
    for name in names:
        if not name.endswith((".cpp", ".hpp", ".py")):
            continue
        text = (ROOT / name).read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines > 520 and "long file:" not in text[:2000]:
            complain(name, 1, f'{lines} lines: look for the second question in it (or say why in a comment "long file: …")')


def check_snippets(names):
    """A ```cpp block in Markdown is preceded by <!-- snippet: FILE NAME --> and equals that region of FILE."""
    for name in names:
        if not name.endswith(".md"):
            continue
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        for index, line in enumerate(lines):
            if line.strip() != "```cpp":
                continue
            marker = re.match(r"<!-- snippet: (\S+) (\S+) -->", lines[index - 1] if index else "")
            if not marker:
                complain(name, index + 1, "a C++ block without <!-- snippet: FILE NAME --> above: cut it from a compiled file")
                continue
            end = next(i for i in range(index + 1, len(lines)) if lines[i].strip() == "```")
            shown = [text.strip() for text in lines[index + 1:end] if text.strip()]
            source = ROOT / marker.group(1)
            if not source.is_file():
                complain(name, index, f"snippet file {marker.group(1)} does not exist")
                continue
            region, inside = [], False
            for text in source.read_text(encoding="utf-8").splitlines():
                if re.search(rf"//\s*\[{re.escape(marker.group(2))}\]", text):
                    inside = True
                elif re.search(rf"//\s*\[/{re.escape(marker.group(2))}\]", text):
                    inside = False
                elif inside and text.strip():
                    region.append(text.strip())
            if shown != region:
                complain(name, index + 1, f"snippet differs from region [{marker.group(2)}] of {marker.group(1)}")


def check_dependencies():
    page = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    for listed in sorted((ROOT / "scripts").glob("packages-*.txt")):
        for line in listed.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#") and f"`{line}`" not in page:
                complain("docs/dependencies.md", 1, f"package `{line}` has no line: why this one, what else was weighed")


def check_verbs(names):
    dev = (ROOT / "dev").read_text(encoding="utf-8")
    for name in names:
        if name.endswith(".md") and name != "CHANGELOG.md":
            for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1):
                for verb in re.findall(r"\./dev ([a-z][a-z-]+)", line):
                    if f"verb_{verb}()" not in dev:
                        complain(name, number, f"./dev has no verb \"{verb}\"")


all_names = tracked()
check_sources(all_names)
check_tests_are_built(all_names)
check_length(all_names)
check_snippets(all_names)
check_dependencies()
check_verbs(all_names)
for problem in problems:
    print(problem)
print(f"{len(problems)} problems in {len(all_names)} files")
sys.exit(1 if problems else 0)
