//! The stages of a submission to the benchmarking suite of HomomorphicEncryption.org, all in one
//! executable: the name that it is started under says which stage it is.
//!
//! [`client`] and [`server`] are the two sides. They share files only, whose places are in
//! [`place`]; `server` names nothing of the secret key. [`build`] compiles the programs before
//! anything is timed.
#![forbid(unsafe_code)]

mod build;
mod client;
mod pixels;
mod place;
mod server;

use chiffre::Error;
use place::{Instance, Place};
use std::path::Path;
use std::process::ExitCode;

/// The stages by the names that the suite starts them under.
const STAGES: [&str; 9] = [
    "server_get_params",
    "client_key_generation",
    "server_upload_ek",
    "server_preprocess_model",
    "client_preprocess_input",
    "client_encode_encrypt_input",
    "server_encrypted_compute",
    "client_decrypt_decode",
    "client_postprocess",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Error> {
    let [path, rest @ ..] = arguments else { return Err(Error::input("started without a name")) };
    let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    if let ["build", base] = rest.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return build::build(Path::new(base), std::env::var_os("CHIFFRE_MODEL").as_deref().map(Path::new));
    }
    // Stages lie in SUBMISSION/build, and the suite starts them in its own root.
    let place = Place::of(Path::new(path))?;
    // One stage is told no size in the first form of the suite.
    let size = rest.first().map(|text| text.parse::<Instance>()).transpose().map_err(Error::input)?;
    let sized = || size.ok_or_else(|| Error::input(format!("{name} takes the size of the instance: 0, 1, 2 or 3")));
    match name.as_str() {
        "server_get_params" => server::get_params(&place, sized()?),
        "client_key_generation" => client::key_generation(&place, sized()?),
        "server_upload_ek" => server::upload_ek(&place, sized()?),
        "server_preprocess_model" => server::preprocess_model(&place, size),
        "client_preprocess_input" => client::preprocess_input(&place, sized()?),
        "client_encode_encrypt_input" => client::encode_encrypt_input(&place, sized()?),
        "server_encrypted_compute" => server::encrypted_compute(&place, sized()?),
        "client_decrypt_decode" => client::decrypt_decode(&place, sized()?),
        "client_postprocess" => client::postprocess(&place, sized()?),
        _ => Err(Error::input(format!(
            "{name} is no stage: the executable is linked under {}, or started as `{name} build SUBMISSION`",
            STAGES.join(", ")
        ))),
    }
}
