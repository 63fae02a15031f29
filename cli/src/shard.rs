//! Which part of many batches a process runs: as `--shard` says, or as its scheduler does.

use crate::args::ShardArg;
use chiffre::Error;
use chiffre::batches::Shard;

/// The variables by which schedulers tell a process which one of many it is.
const SLURM: &str = "SLURM_ARRAY_TASK_ID";
const KUBERNETES: &str = "JOB_COMPLETION_INDEX";

/// Which part of the batches this process runs, and who says so; `variable` reads the environment.
///
/// # Errors
/// `auto` where no scheduler has set its variables, or two have; numbers that are none, or have
/// gaps.
pub fn of(asked: Option<ShardArg>, variable: &dyn Fn(&str) -> Option<String>) -> Result<(Shard, &'static str), Error> {
    let number = |name: &str| -> Result<usize, Error> {
        let value = variable(name).ok_or_else(|| Error::input(format!("{name} is not set; give --shard I/N")))?;
        value.parse().map_err(|_| Error::input(format!("{name} is `{value}`, not a number; give --shard I/N")))
    };
    let made = |index, count| Shard::new(index, count).map_err(Error::input);
    match (asked, variable(SLURM), variable(KUBERNETES)) {
        (Some(ShardArg::Fixed(shard)), ..) => Ok((shard, "--shard")),
        (None, None, None) => Ok((Shard::WHOLE, "all batches")),
        (_, Some(_), Some(_)) => Err(Error::input(format!("both {SLURM} and {KUBERNETES} are set; give --shard I/N"))),
        (_, Some(_), None) => {
            let [id, count] = [number(SLURM)?, number("SLURM_ARRAY_TASK_COUNT")?];
            let or = |name: &str, default| if variable(name).is_some() { number(name) } else { Ok(default) };
            let [least, step] = [or("SLURM_ARRAY_TASK_MIN", 0)?, or("SLURM_ARRAY_TASK_STEP", 1)?.max(1)];
            let most = or("SLURM_ARRAY_TASK_MAX", least + step * (count.max(1) - 1))?;
            // Part of an array that is submitted again, say: shards would have other batches than
            // at first, and with gaps nobody would run some of them.
            if id < least || (id - least) % step != 0 || most != least + step * (count.max(1) - 1) {
                let advice = format!("with --array as a range from A to B, or give --shard ${SLURM}/N");
                return Err(Error::input(format!("the numbers of this Slurm array have gaps: {advice}")));
            }
            Ok((made((id - least) / step, count)?, SLURM))
        }
        (_, None, Some(_)) => Ok((made(number(KUBERNETES)?, number("JOB_COMPLETIONS")?)?, KUBERNETES)),
        (Some(ShardArg::Auto), None, None) => {
            Err(Error::input(format!("--shard auto: neither {SLURM} nor {KUBERNETES} is set; give --shard I/N")))
        }
    }
}
