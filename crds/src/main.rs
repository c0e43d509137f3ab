//! Writes the YAML of both definitions into the folders that hold it.

use anyhow::Context;
use tidegate_crds::manifest;

fn main() -> anyhow::Result<()> {
    for folder in manifest::folders() {
        std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        for (name, text) in manifest::files().context("writing the definitions as YAML")? {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        }
    }
    Ok(())
}
