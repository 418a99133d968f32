# SPDX-License-Identifier: GPL-2.0
"""The series as this repository stores it: patches/ and the new files.

A patch file is: SPDX line, "Subject: ", empty line, message, "---", "New: path"
lines, empty line, diff of existing files. "New:" files stand whole at their
in-tree path. Everything derived from the two (mails, commits) is a function of
their bytes only. The number in a patch's name gives its place; there is room between
numbers, so that a new patch renames no other one.
"""
import email.utils
import hashlib
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(TOP, 'out')
TREE = os.path.join(OUT, 'tree')

SPDX = '# SPDX-License-Identifier: GPL-2.0'
NAME, MAIL = 'pinpage developers', 'pinpage@example.org'
EPOCH = 1767225600                      # 2026-01-01; patch n is dated n seconds later
COVER = '0000-cover.txt'
PATCH_RE = re.compile(r'(\d{4})-(.+)\.patch')
DIFF_OPTS = ['--no-renames', '--no-color', '--no-ext-diff', '--no-textconv', '-U3',
             '--inter-hunk-context=0', '--diff-algorithm=myers', '--indent-heuristic',
             '--src-prefix=a/', '--dst-prefix=b/']


class Error(Exception):
    """Carries the one line that the user reads."""


def main(func):
    try:
        sys.exit(func())
    except Error as err:
        sys.exit(f'{os.path.basename(sys.argv[0])}: {err}')
    except KeyboardInterrupt:
        sys.exit(130)


def git_env(date=EPOCH):
    env = {k: v for k, v in os.environ.items() if not k.startswith('GIT_')}
    env.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM='1', GIT_ATTR_NOSYSTEM='1',
               LC_ALL='C', TZ='UTC')
    for who in ('AUTHOR', 'COMMITTER'):
        env.update({f'GIT_{who}_NAME': NAME, f'GIT_{who}_EMAIL': MAIL,
                    f'GIT_{who}_DATE': f'{date} +0000'})
    return env


def git(*args, cwd=TREE, data=None, check=True, text=True, env=None):
    """Run git untouched by the user's configuration; returns its output."""
    if isinstance(data, str):
        data = data.encode()
    cmd = ['git', '-c', 'safe.directory=*', '-c', 'core.autocrlf=false', *args]
    res = subprocess.run(cmd, cwd=cwd, input=data, env=env or git_env(), check=False,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if check and res.returncode:
        raise Error(f'git {args[0]} failed: ' + ' '.join(res.stderr.decode().split('\n')).strip())
    if not check:
        return res
    return res.stdout.decode('utf-8', 'surrogateescape') if text else res.stdout


class Patch:
    def __init__(self, name, subject, body, new, diff):
        self.name, self.subject, self.body = name, subject, body
        self.new, self.diff = sorted(new), diff

    @property
    def topic(self):
        return PATCH_RE.fullmatch(self.name)[2]

    @property
    def message(self):
        return f'{self.subject}\n\n{self.body}\n' if self.body else f'{self.subject}\n'

    def text(self):
        out = [SPDX, f'Subject: {self.subject}', '']
        out += ([self.body] if self.body else []) + ['---']
        out += [f'New: {path}' for path in self.new]
        return '\n'.join(out) + '\n' + (f'\n{self.diff}' if self.diff else '')


class Series:
    """patches: Patch in order; files: path -> (executable, bytes); cover: (subject, body, base)"""

    def __init__(self, patches, files, cover=None):
        self.patches, self.files, self.cover = patches, files, cover

    def section(self, path):
        """The diff that creates a new file, as git would print it."""
        executable, data = self.files[path]
        text = data.decode('utf-8', 'surrogateescape')
        if not text.endswith('\n'):
            raise Error(f'{path}: no newline at the end of the file')
        lines = text[:-1].split('\n')
        count = f'1,{len(lines)}' if len(lines) > 1 else '1'
        return (f'diff --git a/{path} b/{path}\n'
                f'new file mode {"100755" if executable else "100644"}\n'
                f'--- /dev/null\n+++ b/{path}\n@@ -0,0 +{count} @@\n'
                + ''.join(f'+{line}\n' for line in lines))

    def full_diff(self, patch):
        parts = split_diff(patch.diff)
        for path in patch.new:
            if path in parts:
                raise Error(f'patches/{patch.name}: {path} is both New: and in the diff')
            parts[path] = self.section(path)
        return ''.join(parts[path] for path in sorted(parts))

    def mails(self):
        """(file name, text) of each mail, the cover letter first."""
        total = len(self.patches)
        diffs = [self.full_diff(p) for p in self.patches]
        if self.cover:
            subject, body, base = self.cover
            body += f'\n\n{NAME} ({total}):\n' + '\n'.join(f'  {p.subject}' for p in self.patches)
            body += '\n\n' + diffstat(diffs)
            if base:
                body += f'\nBase: Linux {base}, as packaged by Debian in linux-source-6.12'
            yield '0000-cover-letter.patch', mail(0, total, subject, body)
        for n, (patch, diff) in enumerate(zip(self.patches, diffs), 1):
            body = (patch.body + '\n' if patch.body else '') + '---\n' + diffstat([diff]) + '\n' + diff
            yield f'{n:04}-{patch.topic}.patch', mail(n, total, patch.subject, body)

    def key(self):
        digest = hashlib.sha256()
        for name, text in self.mails():
            digest.update(f'{name}\n{text}'.encode('utf-8', 'surrogateescape'))
        return digest.hexdigest()

    def store(self, root):
        """Write patches/ and new files below root; what the series no longer has goes."""
        folder = os.path.join(root, 'patches')
        os.makedirs(folder, exist_ok=True)
        try:
            old = {p for patch in load(root).patches for p in patch.new}
        except Error:
            old = set()
        for path in old - set(self.files):
            remove(root, path)
        for name in os.listdir(folder):
            if PATCH_RE.fullmatch(name) and name not in {p.name for p in self.patches}:
                os.unlink(os.path.join(folder, name))
        for patch in self.patches:
            put(os.path.join(folder, patch.name), patch.text().encode('utf-8', 'surrogateescape'))
        for path, (executable, data) in self.files.items():
            put(os.path.join(root, path), data, executable)
        if self.cover:
            put(os.path.join(folder, COVER), cover_text(*self.cover).encode())


def put(path, data, executable=False):
    """Write only what differs, so that an unchanged file keeps its time."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    old = None
    if os.path.exists(path):
        with open(path, 'rb') as f:
            old = f.read()
    if old != data:
        with open(path, 'wb') as f:
            f.write(data)
    mode = os.stat(path).st_mode
    if bool(mode & 0o100) != executable:
        os.chmod(path, mode | 0o111 if executable else mode & ~0o111)


def remove(root, path):
    full = os.path.join(root, path)
    if os.path.lexists(full):
        os.unlink(full)
    parent = os.path.dirname(path)
    while parent and os.path.isdir(os.path.join(root, parent)):
        if os.listdir(os.path.join(root, parent)):
            break
        os.rmdir(os.path.join(root, parent))
        parent = os.path.dirname(parent)


def split_diff(diff):
    """path -> its section of a git diff"""
    parts = {}
    for section in re.split(r'^(?=diff --git )', diff, flags=re.M)[1:]:
        match = re.match(r'diff --git a/(.+) b/\1\n', section)
        if not match:
            raise Error('odd diff header: ' + section.split('\n', 1)[0])
        parts[match[1]] = section
    return parts


def strip_index(diff):
    """Drop the "index" lines; hunk lines never begin with a letter."""
    return re.sub(r'^index [0-9a-f.]+( \d+)?\n', '', diff, flags=re.M)


def diffstat(diffs):
    stat = {}
    for diff in diffs:
        for path, section in split_diff(diff).items():
            hunks = section[section.index('\n@@'):] if '\n@@' in section else ''
            plus, minus = stat.get(path, (0, 0))
            stat[path] = (plus + len(re.findall(r'^\+', hunks, flags=re.M)),
                          minus + len(re.findall(r'^-', hunks, flags=re.M)))
    width = max(map(len, stat), default=0)
    digits = max((len(str(p + m)) for p, m in stat.values()), default=1)
    most = max((p + m for p, m in stat.values()), default=1)
    scale = min(1, max(10, 76 - width - digits) / most)
    lines = []
    for path in sorted(stat):
        plus, minus = stat[path]
        bar = ''.join(sign * max(1, int(n * scale)) for sign, n in (('+', plus), ('-', minus)) if n)
        lines.append(f' {path:<{width}} | {plus + minus:>{digits}} {bar}'.rstrip())
    plus, minus = (sum(s[i] for s in stat.values()) for i in (0, 1))
    total = f' {len(stat)} file{"s" * (len(stat) != 1)} changed'
    if plus or not minus:
        total += f', {plus} insertion{"s" * (plus != 1)}(+)'
    if minus:
        total += f', {minus} deletion{"s" * (minus != 1)}(-)'
    return '\n'.join(lines + [total]) + '\n'


def mail(n, total, subject, body):
    date = email.utils.formatdate(EPOCH + n).replace('-0000', '+0000')
    prefix = f'{n:0{len(str(total))}}/{total}'
    head = (f'From {"0" * 40} Mon Sep 17 00:00:00 2001\nFrom: {NAME} <{MAIL}>\nDate: {date}\n'
            f'Subject: [PATCH {prefix}] {subject}\n')
    if not body.isascii():
        head += ('MIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\n'
                 'Content-Transfer-Encoding: 8bit\n')
    return f'{head}\n{body.rstrip()}\n' if n == 0 else f'{head}\n{body}'


def cover_text(subject, body, base):
    return f'{SPDX}\nSubject: {subject}\n' + (f'Base: {base}\n' if base else '') + f'\n{body}\n'


def head_of(path, text):
    """Split off the SPDX line, the Subject and an optional Base."""
    match = re.match(re.escape(SPDX) + r'\nSubject: (.+)\n(?:Base: (.+)\n)?(?:\n|$)', text)
    if not match:
        raise Error(f'{path}: must begin with the SPDX line, "Subject: ..." and an empty line')
    if not match[1].isascii():
        raise Error(f'{path}: the subject must be ASCII')
    return match[1].strip(), match[2], text[match.end():]


def read_patch(path, name):
    with open(path, encoding='utf-8', errors='surrogateescape', newline='') as f:
        subject, _, rest = head_of(f'patches/{name}', f.read())
    match = re.search(r'^---\n', rest, flags=re.M)
    if not match:
        raise Error(f'patches/{name}: no "---" line after the message')
    body, tail = rest[:match.start()].rstrip('\n'), rest[match.end():]
    names, _, diff = tail.partition('\ndiff --git ') if not tail.startswith('diff --git ') \
        else ('', '', tail[len('diff --git '):])
    diff = f'diff --git {diff}' if diff else ''
    new = []
    for line in filter(None, names.split('\n')):
        if not line.startswith('New: '):
            raise Error(f'patches/{name}: "{line}" is neither a New: line nor a diff')
        new.append(line[5:].strip())
    return Patch(name, subject, body, new, diff)


def load(root=TOP):
    folder = os.path.join(root, 'patches')
    names = sorted(n for n in os.listdir(folder) if PATCH_RE.fullmatch(n)) \
        if os.path.isdir(folder) else []
    patches = [read_patch(os.path.join(folder, n), n) for n in names]
    files, owner = {}, {}
    for patch in patches:
        for path in patch.new:
            if path in owner:
                raise Error(f'{path}: brought in by both patches/{owner[path]} and patches/{patch.name}')
            owner[path] = patch.name
            full = os.path.join(root, path)
            if os.path.islink(full) or not os.path.isfile(full):
                raise Error(f'{path}: named by patches/{patch.name}, but there is no such file')
            with open(full, 'rb') as f:
                files[path] = (os.access(full, os.X_OK) and bool(os.stat(full).st_mode & 0o100), f.read())
    cover = None
    if os.path.exists(os.path.join(folder, COVER)):
        with open(os.path.join(folder, COVER), encoding='utf-8') as f:
            subject, base, body = head_of(f'patches/{COVER}', f.read())
        cover = (subject, body.strip('\n'), base)
    return Series(patches, files, cover)


def commit_series(series, tree=TREE):
    """Commit the series onto tag base without touching the work tree; returns the new head."""
    head = git('rev-parse', 'base^{commit}', cwd=tree).strip()
    index = os.path.join(tree, '.git', f'pinpage-index.{os.getpid()}')
    try:
        env = dict(git_env(), GIT_INDEX_FILE=index)
        git('read-tree', head, cwd=tree, env=env)
        for n, patch in enumerate(series.patches, 1):
            diff = series.full_diff(patch).encode('utf-8', 'surrogateescape')
            res = git('apply', '--cached', '--whitespace=nowarn', cwd=tree, data=diff, check=False, env=env)
            if res.returncode:
                why = res.stderr.decode().strip().split('\n')
                files = re.findall(r'error: (\S+?): (.*)', '\n'.join(why))
                what = '; '.join(f'{f}: {w}' for f, w in files if f != 'patch') or why[-1]
                raise Error(f'patches/{patch.name} does not apply: {what}')
            tree_id = git('write-tree', cwd=tree, env=env).strip()
            head = git('commit-tree', tree_id, '-p', head, cwd=tree, env=git_env(EPOCH + n),
                       data=patch.message.encode('utf-8', 'surrogateescape')).strip()
    finally:
        if os.path.exists(index):
            os.unlink(index)
    return head
