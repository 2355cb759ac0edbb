//! The map in ARCHITECTURE.md, kept true: which crate may depend on which, and where SQL lives.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)] // a test fails by panicking

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Who may depend on whom, among the workspace's own crates.
const ALLOWED: &[(&str, &[&str])] = &[
    ("annals-macros", &[]),
    ("annals-core", &["annals-macros"]),
    ("annals-runtime", &["annals-core"]),
    ("annals-sqlite", &["annals-core"]),
    ("annals-postgres", &["annals-core"]),
    ("annals-cli", &["annals-core", "annals-runtime"]),
    ("annals-testing", &["annals-core"]),
    (
        "annals",
        &[
            "annals-cli",
            "annals-core",
            "annals-postgres",
            "annals-runtime",
            "annals-sqlite",
        ],
    ),
    ("bank", &["annals"]),
    (
        "annals-benches",
        &[
            "annals",
            "annals-core",
            "annals-runtime",
            "annals-sqlite",
            "bank",
        ],
    ),
];

/// Every dependency between crates of the workspace, dev-dependencies apart.
fn edges() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |package: &serde_json::Value| package["name"].as_str().unwrap().to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name).collect();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let normal = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].is_null());
            (
                name(package),
                normal
                    .map(name)
                    .filter(|name| ours.contains(name))
                    .collect(),
            )
        })
        .collect()
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder").map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn dependencies_run_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    for (package, dependencies) in edges() {
        let allowed = allowed.get(package.as_str()).unwrap_or_else(|| {
            panic!("`{package}` is not on the map; add it to ARCHITECTURE.md and here")
        });
        for dependency in dependencies {
            assert!(
                allowed.contains(&dependency.as_str()),
                "`{package}` must not depend on `{dependency}`"
            );
        }
    }
}

#[test]
fn only_stores_speak_sql() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let words = [
        "INSERT INTO",
        "SELECT ",
        "DELETE FROM",
        "CREATE TABLE",
        "UPDATE SET",
    ];
    let mut files = Vec::new();
    for folder in [
        "crates/core/src",
        "crates/runtime/src",
        "crates/cli/src",
        "crates/macros/src",
    ] {
        rust_files(&root.join(folder), &mut files);
    }
    assert!(files.len() > 20, "the folders were found");
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file");
        for line in text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            let word = words.iter().find(|word| line.contains(**word));
            assert!(
                word.is_none(),
                "{}: SQL outside a store: {line}",
                file.display()
            );
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = vec![root.join("README.md"), root.join("ARCHITECTURE.md")];
    for folder in ["docs/guide", "docs/decisions"] {
        let entries = fs::read_dir(root.join(folder)).expect("a folder");
        documents.extend(entries.map(|entry| entry.unwrap().path()));
    }
    let mut checked = 0;
    for document in documents {
        let text = fs::read_to_string(&document).expect("a document");
        let links = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'));
        for (link, _) in links.filter(|(link, _)| !link.starts_with("http")) {
            let target = document.with_file_name(link);
            assert!(
                target.exists(),
                "{}: {link} is not there",
                document.display()
            );
            checked += 1;
        }
    }
    assert!(checked > 10, "links were found");
}
