//! Writes the YAML of both definitions into the folders that hold it, their fields into the reference, and the schemas of
//! the settings file and of the chart tidegate-pipelines where they are kept.

use anyhow::Context;
use tidegate_crds::{manifest, reference, values};

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
    let schemas = [
        (tidegate_settings::schema_path(), tidegate_settings::schema()),
        (values::path(), values::schema().context("making the chart's schema")?),
    ];
    for (path, text) in schemas {
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
