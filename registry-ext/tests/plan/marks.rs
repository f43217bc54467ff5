//! The updates that a plan merges, and those that it leaves to chains.

use super::*;

/// The tags, the verdict and the way of each update.
fn ways(plan: &Value) -> Vec<String> {
    let pairs = plan["repositories"][0]["pairs"].as_array().unwrap();
    let mut ways: Vec<String> = pairs
        .iter()
        .map(|pair| {
            let tag = |image: &Value| image["tags"][0].as_str().unwrap().to_owned();
            let between: Vec<String> = pair["between"].as_array().unwrap().iter().map(tag).collect();
            let of = |name: &str| pair[name].as_str().unwrap();
            format!("{} {} {} over {}", tag(&pair["from"]), of("verdict"), of("way"), between.join(" "))
        })
        .collect();
    ways.sort();
    ways
}

/// The manifests of a state by their names without the repository.
fn nameless(state: BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    state.into_iter().map(|(name, manifest)| (name.split_once(' ').unwrap().1.to_owned(), manifest)).collect()
}

#[test]
fn jobs_that_merge_end_in_the_same_state_in_any_order() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    push_releases(&registry, dir.path(), &["app"]);
    let app = format!("{}/app", registry.address());
    for (from, to) in [("v1.0.1", "v1.1.0"), ("v1.1.0", "v1.1.1")] {
        json(&format!("publish {app}:{to} --from {app}:{from} --level 3"));
    }
    let text = "each-minor = false\ntargets = 2\nlast = 3\nmerge = true\n";
    let policy = write(dir.path(), "policy.toml", text);
    let orders = [("first", vec!["1/1"]), ("second", vec!["1/2", "2/2"]), ("third", vec!["2/2", "1/2"])];
    for (name, _) in &orders {
        registry.copy_repository("app", name);
    }
    let states = orders.map(|(name, jobs)| {
        let (app, file) = (format!("{}/{name}", registry.address()), format!("{name}.json"));
        let file = dir.path().join(file).display().to_string();
        let plan = json(&format!("plan {app} --policy {policy} --output {file}"));
        let expected = [
            "v1.0.1 make merged over v1.1.0 v1.1.1",
            "v1.1.0 make merged over v1.1.1",
            "v1.1.0 make merged over v1.1.1",
            "v1.1.1 make direct over ",
            // Another job makes the deltas to the release between.
            "v1.1.1 make direct over v1.2.0",
            "v1.2.0 make direct over ",
        ];
        assert_eq!(ways(&plan), expected);
        for job in jobs {
            let report = json(&format!("publish --plan {file} --job {job} --level 3"));
            for target in report["targets"].as_array().unwrap() {
                let deltas = target["report"]["deltas"].as_array().unwrap();
                assert!(deltas.iter().any(|delta| delta["merged"].is_object()), "{target}");
                // Both passes look at the recipes of the same layers.
                let recipes = target["report"]["recipes"].as_array().unwrap();
                let layers: Vec<&Value> = recipes.iter().map(|recipe| &recipe["diff_id"]).collect();
                let distinct: BTreeSet<&str> = layers.iter().filter_map(|layer| layer.as_str()).collect();
                assert_eq!(layers.len(), distinct.len(), "{target}");
                assert!(layers.len() > 1, "{target}");
            }
        }
        nameless(state(&registry, &[name]))
    });
    assert_eq!(states[0].keys().collect::<Vec<_>>(), states[1].keys().collect::<Vec<_>>());
    assert!(states[0] == states[1] && states[1] == states[2]);
}

#[test]
fn a_plan_merges_deltas_or_leaves_updates_to_chains() {
    let registry = DockerRegistry::start(Setup::default());
    let dir = TempDir::new().unwrap();
    push_releases(&registry, dir.path(), &["app"]);
    let app = format!("{}/app", registry.address());
    for (from, to) in [("v1.1.0", "v1.1.1"), ("v1.1.1", "v1.2.0")] {
        json(&format!("publish {app}:{to} --from {app}:{from} --for oci-delta --level 3"));
    }
    let policy = |name: &str, text: &str| write(dir.path(), name, &format!("each-minor = false\n{text}"));
    let merging = policy("merge.toml", "last = 3\nmerge = true");
    let file = dir.path().join("plan.json").display().to_string();
    let plan = json(&format!("plan {app} --policy {merging} --output {file}"));
    let expected = [
        "v1.1.0 make merged over v1.1.1 v1.2.0",
        "v1.1.1 make merged over v1.2.0",
        "v1.2.0 make direct over ",
    ];
    assert_eq!(ways(&plan), expected);
    let shown = registry_ext(&format!("plan {app} --policy {merging}")).assert().success();
    let shown = String::from_utf8(shown.get_output().stdout.clone()).unwrap();
    assert!(shown.contains(" way ") && shown.contains(" merged  to be made"), "{shown}");

    // Where a chain suffices, none is made, and what it takes is kept.
    let chaining = policy("chain.toml", "last = 3\nchains = 9.0");
    let chained = dir.path().join("chained.json").display().to_string();
    let plan = json(&format!("plan {app} --policy {chaining} --output {chained}"));
    let pairs = plan["repositories"][0]["pairs"].as_array().unwrap();
    let left = pairs.iter().filter(|pair| pair["verdict"] == "chain");
    for pair in left.clone() {
        assert!(pair["chain_bytes"].as_u64().unwrap() > 0 && pair["chain_is_published"] == false, "{pair}");
    }
    assert_eq!(left.count(), 2, "{plan}");
    let report = json(&format!("publish --plan {chained} --for oci-delta --level 3"));
    assert_eq!(report["targets"][0]["from"].as_array().unwrap().len(), 1, "{report}");
    let plan = json(&format!("plan {app} --policy {chaining}"));
    let expected = [
        "v1.1.0 chain chain over v1.1.1 v1.2.0",
        "v1.1.1 chain chain over v1.2.0",
        "v1.2.0 published direct over ",
    ];
    assert_eq!(ways(&plan), expected);
    let before = state(&registry, &["app"]);
    json(&format!("prune {app} --policy {chaining}"));
    assert_eq!(state(&registry, &["app"]), before);
    // A chain that is too large by now for new updates is still what hosts have, and what merges are made of.
    for text in ["last = 3\nchains = 0.001", "last = 3\nmerge = true"] {
        let other = policy("other.toml", text);
        json(&format!("prune {app} --policy {other}"));
        assert_eq!(state(&registry, &["app"]), before, "{text}");
    }

    // The plan that merges is still there, and what it wants is merged of what is published.
    let report = json(&format!("publish --plan {file} --for oci-delta --level 3"));
    let deltas = report["targets"][0]["report"]["deltas"].as_array().unwrap();
    let merged: Vec<_> = deltas.iter().filter(|delta| delta["merged"].is_object()).collect();
    assert!(merged.len() >= 3, "{report}");
    assert!(merged.iter().all(|delta| delta["outcome"] == "published"), "{report}");
    assert_eq!(verdicts(&json(&format!("plan {app} --policy {merging}"))).len(), 3);
    let store = dir.path().join("store").display().to_string();
    json(&format!("pull {app}:v1.1.0 --into oci:{store}"));
    let pulled = json(&format!("pull {app}:v1.2.1 --into oci:{store} --prefer size"));
    for layer in pulled["layers"].as_array().unwrap() {
        assert!(layer["from"]["delta"].is_string(), "{pulled}");
    }
    assert_eq!(
        crate::support::images::stored_layers(Path::new(&store), "v1.2.1"),
        release("app", 2, 1).layers
    );
}
