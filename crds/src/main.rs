//! Writes the YAML of both definitions into the folders that hold it, and their fields into the reference.

use anyhow::Context;
use tidegate_crds::{manifest, reference};

fn main() -> anyhow::Result<()> {
    for folder in manifest::folders() {
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        for (name, text) in manifest::files().context("writing the definitions as YAML")? {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    for (path, tables) in reference::pages().context("reading the definitions' fields")? {
        let page = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let page =
            reference::replaced(&page, &tables).with_context(|| format!("{} lacks the marks", path.display()))?;
        std::fs::write(&path, page).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
