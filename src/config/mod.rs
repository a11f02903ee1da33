//! Flags, environment and file become typed settings that cannot be wrong.
//!
//! A flag beats the environment, which beats the file, which beats the default. Every value
//! remembers where it came from, and everything that is wrong is reported in one go: nobody mends
//! a deployment one restart at a time.
//!
//! Reading order: [`table`] (every setting, once), [`settings`] (what the rest of the program
//! gets), `load`, then the parts: `environment`, `file`, `secret`, `value`, `quantity`, `problem`,
//! `suggestion`, [`reference`].
//!
//! The values stay plain (`String`, `Duration`, `usize`): the command line turns them into what
//! `store` and `ably` want, so that this layer knows neither.

mod environment;
mod file;
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

pub use environment::Environment;
pub use load::{Configuration, Flags, Needs, Resolved, Sources, load};
pub use problem::{Origin, Problem, Problems};
pub use quantity::{QuantityError, parse_duration, parse_size};
pub use settings::{BatchMode, FallbackHosts, LogFormat, Settings};
pub use value::Kind;
