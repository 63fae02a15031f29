//! `chiffre check`.

use crate::args::CheckArgs;
use chiffre::Error;
use chiffre::survey::report;
use chiffre_frontend::{FrontendError, survey};

/// Says what the compiler makes of a model; fails if something stands in its way.
pub(super) fn check(args: &CheckArgs) -> Result<(), Error> {
    let found = survey(&args.model, &args.input_shape.options())?;
    super::print(report(&found))?;
    match found.model {
        Some(_) => Ok(()),
        None => Err(FrontendError::Obstacles { file: args.model.display().to_string(), obstacles: found.obstacles }.into()),
    }
}
