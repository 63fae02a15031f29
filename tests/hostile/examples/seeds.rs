//! Writes the seeds of the fuzz targets: `cargo run -p chiffre-hostile --example seeds -- FOLDER`
//! makes a folder for each target in FOLDER.

use chiffre_hostile::{Kind, seeds};
use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "fuzz/corpus".into()));
    for kind in Kind::ALL {
        let own = folder.join(kind.name());
        std::fs::create_dir_all(&own)?;
        for (i, bytes) in seeds(kind).into_iter().enumerate() {
            std::fs::write(own.join(format!("seed-{i:03}")), bytes)?;
        }
    }
    Ok(())
}
