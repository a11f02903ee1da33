//! The table against itself.

use std::collections::BTreeSet;

use super::*;
use crate::config::settings::Settings;
use crate::config::value::Raw;

#[test]
fn every_default_and_example_passes_its_own_check() {
    for setting in SETTINGS {
        for word in setting.default.iter().chain([&setting.example]) {
            let applied =
                setting.kind.apply(&Raw::Word((*word).to_owned()), &mut Settings::blank());
            assert_eq!(applied, Ok(()), "{}", setting.key);
        }
    }
}

#[test]
fn no_name_stands_for_two_settings() {
    let mut names = BTreeSet::new();
    for setting in SETTINGS {
        for name in setting.env.iter().chain(setting.flag.iter()).chain([&setting.key]) {
            assert!(names.insert(*name), "{name}");
        }
    }
}

#[test]
fn every_own_variable_is_named_after_its_key() {
    for setting in SETTINGS {
        let own = setting.env.iter().filter(|name| name.starts_with(ENV_PREFIX));
        for name in own {
            let key = setting.key.replace('.', "_").to_uppercase();
            let short = setting.leaf().to_uppercase();
            let tail = name.trim_start_matches(ENV_PREFIX);
            assert!(tail == key || tail == short, "{name} for {}", setting.key);
        }
    }
}
