//! Writes the descriptors of files: `descriptors OUT -I FOLDER .. -- FILE ..`.

use grpc_build::schema::{Source, Sources, compile};

struct Folders(Vec<std::path::PathBuf>);

impl Sources for Folders {
    fn read(&self, name: &str) -> Result<Option<Source>, String> {
        for folder in &self.0 {
            let path = folder.join(name);
            if path.is_file() {
                let text = std::fs::read(&path).map_err(|error| error.to_string())?;
                return Ok(Some(Source { text, path: path.display().to_string() }));
            }
        }
        Ok(None)
    }
}

fn main() {
    let args = std::env::args().skip(1).collect::<Vec<_>>();
    let split = args.iter().position(|arg| arg == "--").expect("-- before the files");
    let folders = Folders(args[1..split].iter().map(Into::into).collect());
    let names = args[split + 1..].iter().map(String::as_str).collect::<Vec<_>>();
    match compile(&names, &folders) {
        Ok(compiled) => std::fs::write(&args[0], compiled.descriptor_set).expect("written"),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}
