//! The three kinds of bears of the lesson.

use std::fmt;

/// A kind of bear, which is a class of the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The plush one.
    Teddy,
    /// *Ursus americanus*.
    Black,
    /// *Ursus arctos horribilis*.
    Grizzly,
}

impl Class {
    /// Every class, in the lesson's order.
    pub const ALL: [Self; 3] = [Self::Teddy, Self::Black, Self::Grizzly];

    /// The class's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Teddy => "teddy",
            Self::Black => "black",
            Self::Grizzly => "grizzly",
        }
    }

    /// The file name of its URL list.
    pub fn list_name(self) -> &'static str {
        match self {
            Self::Teddy => "urls_teddys.txt",
            Self::Black => "urls_black.txt",
            Self::Grizzly => "urls_grizzly.txt",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
