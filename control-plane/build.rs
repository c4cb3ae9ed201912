//! Makes sure that the folder of the built page exists: without it the page can't be embedded, and the server says so.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let page = Path::new("../frontend/dist");
    if !page.is_dir() {
        fs::create_dir_all(page)?;
    }
    println!("cargo:rerun-if-changed={}", page.display());
    Ok(())
}
