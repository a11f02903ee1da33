//! The TypeScript package as it would be published, built once, in a directory of an application that uses it
//! strictly: `client/` and `recipes/` of `tests/js`, and the files that the pages of `docs/recipes` consist of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::recipe_page::Page;

/// Lazy and not once: when it fails, every test fails with it at once.
static WORKSPACE: LazyLock<PathBuf> = LazyLock::new(build);

/// The pages whose files are TypeScript.
const PAGES: [&str; 3] = ["prisma", "drizzle", "pg"];

/// Where the package is installed, `node_modules/outbox-relay`.
pub(crate) fn root() -> &'static Path {
    &WORKSPACE
}

/// A compiled script of the workspace, such as `client/enqueue`.
pub(crate) fn script(name: &str) -> PathBuf {
    WORKSPACE.join("run").join(name).with_extension("js")
}

fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("typescript");
    if base.exists() {
        fs::remove_dir_all(&base).expect("remove what the last run built");
    }
    // As in the repository, or the package's own scripts would not find the licences.
    let (package, workspace) = (base.join("clients/typescript"), base.join("workspace"));
    let installed = root.join("tests/js/node_modules");
    assert!(
        installed.join("typescript").is_dir(),
        "TypeScript is not installed; run: npm ci --prefix tests/js"
    );
    build_package(root, &base, &package, &installed);
    copy(&root.join("tests/js/client"), &workspace.join("client"));
    copy(&root.join("tests/js/recipes"), &workspace.join("recipes"));
    let modules = workspace.join("node_modules");
    fs::create_dir_all(&modules).unwrap();
    for entry in fs::read_dir(&installed).unwrap().map(Result::unwrap) {
        std::os::unix::fs::symlink(entry.path(), modules.join(entry.file_name())).unwrap();
    }
    run(Command::new("tar").arg("-xzf").arg(package.join("package.tgz")).current_dir(&modules));
    // npm's archives hold a directory `package`.
    fs::rename(modules.join("package"), modules.join("outbox-relay")).unwrap();
    // The event map that the program generates is the one that the package takes.
    run(Command::new(env!("CARGO_BIN_EXE_outbox-relay"))
        .args(["types", "generate", "--lang", "typescript", "--out", "events.ts"])
        .current_dir(workspace.join("client")));
    for page in PAGES {
        let directory = workspace.join("docs").join(page);
        fs::create_dir_all(&directory).unwrap();
        for (name, text) in Page::read(page).files {
            fs::write(directory.join(name), text).unwrap();
        }
    }
    let prisma = workspace.join("docs/prisma");
    // The package's own page has the same client.
    for (name, text) in Page::at("clients/typescript/README.md").files {
        fs::write(prisma.join(name), text).unwrap();
    }
    fs::copy(workspace.join("client/events.ts"), prisma.join("events.ts")).unwrap();
    // `generate` asks for the engine of `migrate`, which it does not use and which is no npm package.
    let unused = std::env::current_exe().unwrap();
    run(Command::new("node")
        .arg(installed.join("prisma/build/index.js"))
        .arg("generate")
        .env("DATABASE_URL", "postgresql://unused")
        .env("PRISMA_SCHEMA_ENGINE_BINARY", unused)
        .env("CHECKPOINT_DISABLE", "1")
        .current_dir(&prisma));
    fs::write(workspace.join("package.json"), "{ \"type\": \"module\", \"private\": true }")
        .unwrap();
    fs::rename(workspace.join("client/tsconfig.json"), workspace.join("tsconfig.json")).unwrap();
    run(tsc(&installed).current_dir(&workspace));
    workspace
}

/// Packs the package by the very command and scripts by which it is published.
fn build_package(root: &Path, base: &Path, package: &Path, installed: &Path) {
    copy(&root.join("clients/typescript/src"), &package.join("src"));
    for file in ["package.json", "tsconfig.json", "tsconfig.cjs.json", "README.md"] {
        fs::copy(root.join("clients/typescript").join(file), package.join(file)).unwrap();
    }
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        fs::copy(root.join(file), base.join(file)).unwrap();
    }
    std::os::unix::fs::symlink(installed, package.join("node_modules")).unwrap();
    // What lies about in a working copy is not published.
    for stray in ["notes.md", ".env"] {
        fs::write(package.join(stray), "TOKEN=secret").unwrap();
    }
    run(Command::new("npm").args(["pack", "--silent"]).current_dir(package));
    let mut archives = fs::read_dir(package).unwrap().map(|entry| entry.unwrap().path());
    let archive = archives.find(|path| path.extension().is_some_and(|e| e == "tgz")).unwrap();
    fs::rename(archive, package.join("package.tgz")).unwrap();
}

fn tsc(installed: &Path) -> Command {
    let mut command = Command::new("node");
    command.arg(installed.join("typescript/bin/tsc")).arg("--project").arg(".");
    command
}

/// Runs it and shows what it said if it fails.
fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
