//! `cargo xtask layers`: the house's edges, held against `layers.toml`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::shell;

#[derive(Deserialize)]
struct Plan {
    layer: Vec<Layer>,
    beside: Beside,
    machines: Machines,
}

#[derive(Deserialize)]
struct Layer {
    number: u8,
    crates: Vec<String>,
}

#[derive(Deserialize)]
struct Beside {
    crates: Vec<String>,
}

#[derive(Deserialize)]
struct Machines {
    below: u8,
    forbidden: BTreeSet<String>,
    allowed: BTreeSet<(String, String)>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// The room's name: the package's without our prefix; `wakeline` itself is the room `cli`.
fn room(package: &str) -> Option<&str> {
    match package {
        "wakeline" => Some("cli"),
        name => name.strip_prefix("wakeline-"),
    }
}

/// Prints the graph and fails when an edge is where none may be.
pub(crate) fn run() -> Result<(), String> {
    let text = std::fs::read_to_string(shell::root().join("layers.toml"))
        .map_err(|e| format!("layers.toml: {e}"))?;
    let plan: Plan = toml::from_str(&text).map_err(|error| format!("layers.toml: {error}"))?;
    let metadata = shell::output(shell::cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata =
        serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let violations = judge(&plan, &metadata.packages, |line| println!("{line}"));
    for violation in &violations {
        println!("violation: {violation}");
    }
    println!("{} crates, {} violations", metadata.packages.len(), violations.len());
    if violations.is_empty() { Ok(()) } else { Err(format!("{} violations", violations.len())) }
}

/// Holds every edge against the plan; the graph goes to `print`, line by line.
fn judge(plan: &Plan, packages: &[Package], mut print: impl FnMut(&str)) -> Vec<String> {
    let mut numbers = BTreeMap::new();
    for layer in &plan.layer {
        for name in &layer.crates {
            numbers.insert(name.as_str(), layer.number);
        }
    }
    let mut violations = Vec::new();
    let mut rows = Vec::new();
    for package in packages {
        let Some(name) = room(&package.name) else {
            violations.push(format!("{} does not carry the project's prefix", package.name));
            continue;
        };
        if plan.beside.crates.iter().any(|beside| beside == name) {
            continue;
        }
        let Some(&number) = numbers.get(name) else {
            violations.push(format!("{name} stands in no layer of layers.toml"));
            continue;
        };
        let mut below = BTreeSet::new();
        for dependency in package.dependencies.iter().filter(|edge| edge.kind.as_deref() != Some("dev")) {
            match room(&dependency.name).and_then(|target| Some((target, numbers.get(target)?))) {
                Some((target, &floor)) if floor < number => {
                    below.insert(target);
                }
                Some((target, &floor)) => {
                    violations.push(format!("{name} (layer {number}) knows {target} (layer {floor})"));
                }
                None if room(&dependency.name).is_some_and(|n| plan.beside.crates.iter().any(|b| b == n)) => {
                    violations.push(format!("{name} knows {}, which is a test program", dependency.name));
                }
                None => {
                    let pair = (name.to_owned(), dependency.name.clone());
                    let forbidden = plan.machines.forbidden.contains(&dependency.name);
                    if number < plan.machines.below && forbidden && !plan.machines.allowed.contains(&pair) {
                        violations.push(format!(
                            "{name} is a machine (layer {number}) and uses {}",
                            dependency.name
                        ));
                    }
                }
            }
        }
        rows.push((number, name, below.into_iter().collect::<Vec<_>>().join(" ")));
    }
    rows.sort();
    for (number, name, below) in rows {
        print(&format!(
            "{number}  {name:<16} {}",
            if below.is_empty() { "-".into() } else { format!("-> {below}") }
        ));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        toml::from_str(
            "[[layer]]\nnumber = 0\ncrates = ['a']\n[[layer]]\nnumber = 1\ncrates = ['b', 'c']\n\
             [beside]\ncrates = ['sim']\n[machines]\nbelow = 5\nforbidden = ['tokio']\nallowed = []\n",
        )
        .unwrap()
    }

    fn package(name: &str, edges: &[(&str, Option<&str>)]) -> Package {
        let dependency = |&(name, kind): &(&str, Option<&str>)| Dependency {
            name: name.into(),
            kind: kind.map(Into::into),
        };
        Package { name: name.into(), dependencies: edges.iter().map(dependency).collect() }
    }

    #[test]
    fn an_edge_down_is_fine_and_one_up_sideways_or_outside_is_not() {
        let judge = |name, edges: &[_]| judge(&plan(), &[package(name, edges)], |_| {}).len();
        assert_eq!(judge("wakeline-b", &[("wakeline-a", None), ("serde", None)]), 0);
        assert_eq!(judge("wakeline-a", &[("wakeline-b", None)]), 1);
        assert_eq!(judge("wakeline-b", &[("wakeline-c", None)]), 1);
        assert_eq!(judge("wakeline-b", &[("tokio", None)]), 1);
        assert_eq!(judge("wakeline-b", &[("wakeline-sim", None)]), 1);
        assert_eq!(judge("wakeline-b", &[("wakeline-sim", Some("dev"))]), 0);
        assert_eq!(judge("wakeline-lost", &[]), 1);
        assert_eq!(judge("stranger", &[]), 1);
    }
}
