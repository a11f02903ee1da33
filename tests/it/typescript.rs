//! The TypeScript package: typed producers by every driver, and a subscriber that notices gaps.

mod enqueue;
mod package;
mod subscribe;
