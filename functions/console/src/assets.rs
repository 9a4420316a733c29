//! The files that pages load, embedded in the binary.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

use crate::reply::{Reply, asset};

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, content type and text of each file. Third-party files have their version in the name and a licence file in
/// `assets`.
const FILES: [(&str, &str, &str); 9] = [
    ("console.css", "text/css; charset=utf-8", include_str!("../assets/console.css")),
    ("sign-in.js", SCRIPT, include_str!("../assets/sign-in.js")),
    ("tables.js", SCRIPT, include_str!("../assets/tables.js")),
    ("numbers.js", SCRIPT, include_str!("../assets/numbers.js")),
    ("live.js", SCRIPT, include_str!("../assets/live.js")),
    ("ringfence-live.js", SCRIPT, include_str!("../../live/client/ringfence-live.js")),
    (HTMX, SCRIPT, include_str!("../assets/htmx-2.0.7.min.js")),
    (UPLOT, SCRIPT, include_str!("../assets/uPlot-1.6.32.iife.min.js")),
    (UPLOT_STYLE, "text/css; charset=utf-8", include_str!("../assets/uPlot-1.6.32.min.css")),
];

/// htmx 2.0.7, from its npm package, with its licence in `assets/htmx-LICENSE` (Zero-Clause BSD).
pub(crate) const HTMX: &str = "htmx-2.0.7.min.js";
/// uPlot 1.6.32, from its npm package, with its licence in `assets/uPlot-LICENSE` (MIT).
pub(crate) const UPLOT: &str = "uPlot-1.6.32.iife.min.js";
/// The style sheet of uPlot.
pub(crate) const UPLOT_STYLE: &str = "uPlot-1.6.32.min.css";

/// A hash of all files. It is part of their addresses, because browsers cache a file forever.
pub(crate) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut digest = Sha256::new();
    for (name, _, text) in FILES {
        digest.update(name);
        digest.update(text);
    }
    hex::encode(&digest.finalize()[..8])
});

/// The file of a name, as a reply.
pub(crate) fn find(name: &str) -> Option<Reply> {
    let (_, content_type, text) = FILES.iter().find(|(named, ..)| *named == name)?;
    Some(asset(content_type, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn third_party_files_are_unmodified() {
        for (file, published) in [
            (HTMX, "60231ae6ba9db3825eb15a261122d5f55921c4d53b66bf637dc18b4ee27c79f9"),
            (UPLOT, "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"),
            (UPLOT_STYLE, "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04"),
        ] {
            let text = FILES.iter().find(|(name, ..)| *name == file).unwrap().2;
            assert_eq!(hex::encode(Sha256::digest(text)), published, "{file}");
        }
        assert!(include_str!("../assets/htmx-LICENSE").starts_with("Zero-Clause BSD"));
        assert!(include_str!("../assets/uPlot-LICENSE").starts_with("The MIT License"));
    }

    #[test]
    fn all_files_together_are_light() {
        let bytes: usize = FILES.iter().map(|(_, _, text)| text.len()).sum();
        assert!(bytes < 190_000, "{bytes}");
    }
}
