//! Places: in the log ([`Position`]), in a stream ([`Version`]), and what an append expects.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! counter {
    ($(#[$meta:meta])* $name:ident, $zero:ident, $zero_doc:literal) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            #[doc = $zero_doc]
            pub const $zero: Self = Self(0);

            /// The place with this number.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The number of this place.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The place right after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The place `count` further on.
            #[must_use]
            pub const fn plus(self, count: u64) -> Self {
                Self(self.0.saturating_add(count))
            }

            /// The place `count` before, or zero where there are fewer.
            #[must_use]
            pub const fn minus(self, count: u64) -> Self {
                Self(self.0.saturating_sub(count))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }
    };
}

counter! {
    /// An event's place in the whole log: 1, 2, 3 and so on, without holes.
    ///
    /// Positions are given out in commit order, so whoever has seen position `p` has seen
    /// everything below it. [`Position::START`] (zero) is the place before the first event,
    /// which is where a reader that has seen nothing stands.
    Position, START, "The place before the first event of the log."
}

counter! {
    /// An event's place in its stream: 1, 2, 3 and so on, without holes.
    ///
    /// [`Version::NONE`] (zero) is the version of a stream that has no events.
    Version, NONE, "The version of a stream without events."
}

/// What an append expects of a stream; if it does not hold, nothing is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expected {
    /// Anything: append at the end, whatever is there.
    Any,
    /// The stream has no events yet.
    NoStream,
    /// The stream has at least one event.
    StreamExists,
    /// The stream's last event has exactly this version.
    Exact(Version),
}

impl Expected {
    /// Whether a stream at `actual` meets the expectation.
    #[must_use]
    pub fn is_met_by(self, actual: Version) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => actual == Version::NONE,
            Self::StreamExists => actual != Version::NONE,
            Self::Exact(version) => actual == version,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::NoStream => f.write_str("no stream"),
            Self::StreamExists => f.write_str("an existing stream"),
            Self::Exact(version) => write!(f, "version {version}"),
        }
    }
}

/// Which way a read goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From older to newer events.
    #[default]
    Forwards,
    /// From newer to older events.
    Backwards,
}
