//! The public HPACK stories that lie beside the repository, where they are present.

use std::path::Path;

use serde_json::Value;

/// Field blocks that share one compression context.
pub struct Story {
    /// The blocks in order.
    pub cases: Vec<Case>,
}

/// One field block.
pub struct Case {
    /// The block as another encoder made it; empty in `raw-data`.
    pub wire: Vec<u8>,
    /// Names and values.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The stories of `../shared/data/hpack-test-case/FOLDER`, or nothing, after a word, when the data is absent.
pub fn read(folder: &str) -> Option<Vec<Story>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/data/hpack-test-case")
        .join(folder);
    let Ok(files) = std::fs::read_dir(path) else {
        println!("{folder}: skipped, its data is absent");
        return None;
    };
    let mut paths: Vec<_> = files.map(|file| file.expect("a file of the folder").path()).collect();
    paths.sort();
    let story = |path| {
        let text = std::fs::read_to_string(path).expect("a readable story");
        let story: Value = serde_json::from_str(&text).expect("a story in JSON");
        Story { cases: story["cases"].as_array().expect("cases").iter().map(case).collect() }
    };
    Some(paths.iter().map(story).collect())
}

fn case(case: &Value) -> Case {
    let headers = case["headers"].as_array().expect("headers").iter();
    Case {
        wire: case["wire"].as_str().map(hex).unwrap_or_default(),
        headers: headers
            .flat_map(|field| field.as_object().expect("a field"))
            .map(|(name, value)| {
                let value = value.as_str().expect("a string");
                (name.as_bytes().to_vec(), value.as_bytes().to_vec())
            })
            .collect(),
    }
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits"))
        .collect()
}
