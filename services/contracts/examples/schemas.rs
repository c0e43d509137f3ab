//! Writes the schemas to `services/contracts/schemas`.

fn main() -> std::io::Result<()> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas");
    std::fs::create_dir_all(folder)?;
    for (name, text) in tidegate_contracts::schema::all() {
        std::fs::write(format!("{folder}/{name}"), text)?;
    }
    Ok(())
}
