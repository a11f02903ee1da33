//! What is published, and how programs of either kind of module load it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::npm_workspace;

/// Every file below, relative, without directories.
fn files(directory: &Path, below: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), &format!("{name}/"), found);
        } else {
            found.insert(name);
        }
    }
}

#[test]
fn the_package_holds_what_it_needs_and_nothing_else() {
    let package = npm_workspace::root().join("node_modules/outbox-relay");
    let mut found = BTreeSet::new();
    files(&package, "", &mut found);
    let own =
        ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "dist/cjs/package.json", "package.json"];
    let mut expected: BTreeSet<String> = own.map(str::to_owned).into();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/typescript/src");
    for source in fs::read_dir(sources).unwrap().map(|entry| entry.unwrap().file_name()) {
        let source = source.into_string().unwrap();
        let name = source.strip_suffix(".ts").unwrap();
        for end in ["js", "js.map", "d.ts", "d.ts.map"] {
            expected.extend([format!("dist/{name}.{end}"), format!("dist/cjs/{name}.{end}")]);
        }
        expected.insert(format!("src/{source}"));
    }
    assert_eq!(found, expected);
    // Nothing of it runs where it is installed.
    let text = fs::read_to_string(package.join("package.json")).unwrap();
    let own: serde_json::Value = serde_json::from_str(&text).unwrap();
    for script in ["preinstall", "install", "postinstall", "prepare"] {
        assert!(own["scripts"][script].is_null(), "{script}");
    }
    assert_eq!(
        (&own["version"], &own["license"]),
        (&env!("CARGO_PKG_VERSION").into(), &"MIT OR Apache-2.0".into())
    );
    assert!(own["dependencies"].is_null(), "{own}");
}

/// A directory in which the package is found, with these files; what a command there says.
fn says(name: &str, written: &[(&str, &str)], args: &[&str]) -> String {
    let directory = npm_workspace::root().join("run").join(name);
    fs::create_dir_all(&directory).unwrap();
    for (file, text) in written {
        fs::write(directory.join(file), text).unwrap();
    }
    let output = Command::new("node").args(args).current_dir(&directory).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}\n{text}");
    text.into_owned()
}

#[test]
fn every_export_is_loaded_by_import_and_by_require_and_nothing_else_is_exported() {
    let load = "const all = {};
        for (const at of ['', '/enqueue', '/drizzle', '/subscribe']) all[at] = Object.keys(await load('outbox-relay' + at)).sort();
        await load('outbox-relay/dist/gap.js').then(() => { throw new Error('exported') }, (error) => {
          if (error.code !== 'ERR_PACKAGE_PATH_NOT_EXPORTED') throw error;
        });
        console.log(JSON.stringify(all));";
    let module = format!("const load = (name) => import(name);\n{load}");
    let common =
        format!("const load = async (name) => require(name);\n(async () => {{ {load} }})();");
    let by_import = says("exports", &[("all.mjs", &module), ("all.cjs", &common)], &["all.mjs"]);
    let all: serde_json::Value = serde_json::from_str(by_import.trim()).unwrap();
    for (entry, name) in [
        ("", "subscribe"),
        ("", "enqueue"),
        ("/enqueue", "enqueue"),
        ("/drizzle", "enqueue"),
        ("/subscribe", "subscribe"),
    ] {
        assert!(all[entry].as_array().unwrap().contains(&name.into()), "{entry} {name}: {all}");
    }
    // A build of its own: Node requires no ECMAScript modules before 20.19.
    let by_require = says("exports", &[], &["all.cjs"]);
    assert_eq!(by_require, by_import);
    let place = says("exports", &[], &["-p", "require.resolve('outbox-relay/subscribe')"]);
    assert!(place.trim().ends_with("dist/cjs/subscribe.js"), "{place}");
}

#[test]
fn its_types_are_found_by_modules_by_commonjs_and_by_bundlers() {
    let uses = "import { enqueue, ENVELOPE_VERSION, type Envelope } from 'outbox-relay';
        import { subscribe, type Gap } from 'outbox-relay/subscribe';
        import { enqueue as byDrizzle } from 'outbox-relay/drizzle';
        export const version: 1 = ENVELOPE_VERSION;
        export const all = [enqueue, subscribe, byDrizzle];
        // @ts-expect-error: types are known, and not any
        export const wrong: [Envelope, Gap] = [1, 2];\n";
    let written =
        [("esm.mts", uses), ("cjs.cts", uses), ("bundled.ts", uses), ("classic.ts", uses)];
    let tsc = npm_workspace::root().join("node_modules/typescript/bin/tsc").canonicalize().unwrap();
    let common = [
        tsc.to_str().unwrap(),
        "--strict",
        "--noEmit",
        "--target",
        "es2022",
        "--types",
        "node",
        "--skipLibCheck",
    ];
    for (module, resolution, file) in [
        ("nodenext", "nodenext", "esm.mts"),
        ("nodenext", "nodenext", "cjs.cts"),
        ("node16", "node16", "cjs.cts"),
        ("commonjs", "node10", "classic.ts"),
        ("esnext", "bundler", "bundled.ts"),
        ("preserve", "bundler", "cjs.cts"),
    ] {
        let how = ["--module", module, "--moduleResolution", resolution, file];
        says("types", &written, &[&common[..], &how].concat());
    }
}
