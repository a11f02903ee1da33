//! Flags, environment and file become typed settings that cannot be wrong.
//!
//! A flag beats the environment, which beats the file, which beats the default. Every value
//! remembers where it came from, and everything that is wrong is reported in one go: nobody mends
//! a deployment one restart at a time.
//!
//! Reading order: [`table`] (every setting, once), [`settings`] (what the rest of the program
//! gets), `configuration`, `load`, then the parts: `environment`, `file`, `secret`, `value`, `check`, `contradiction`,
//! `quantity`, `problem`, `suggestion`, [`mod@reference`].
//!
//! The values stay plain (`String`, `Duration`, `usize`): the command line turns them into what
//! `store` and `ably` want, so that this layer knows neither.

mod check;
mod configuration;
mod contradiction;
mod environment;
mod file;
pub mod file_schema;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod load;
mod problem;
mod quantity;
pub mod reference;
mod secret;
pub mod settings;
mod suggestion;
pub mod table;
#[cfg(test)]
mod tests;
mod value;

pub use configuration::{Configuration, Resolved};
pub use environment::Environment;
pub use load::{Flags, Needs, Sources, load};
pub use problem::{Origin, Problem, Problems};
pub use quantity::{QuantityError, format_duration, format_size, parse_duration, parse_size};
pub use settings::{
    BatchMode, DashboardMode, EnvelopeName, FallbackHosts, LogFormat, OnOversize, RetentionArchive,
    Settings,
};
pub use value::Kind;
