//! The dirt of the web and its oddities: what each kind answers, and what must become of it.

use std::time::Duration;

use crate::draw::Subject;
use crate::files::{Encoding, File};
use crate::site::Page;
use crate::truth::Outcome;

/// What is odd about a listed URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing: a JPEG of a bear.
    Plain,
    /// The first request fails with 500.
    HealsOnce,
    /// The first two requests fail with 503 and `Retry-After: 0`.
    HealsTwice,
    /// The body comes in drops, and is there after a second.
    Slow,
    /// One permanent redirect away.
    MovedOnce,
    /// Two redirects away.
    MovedTwice,
    /// Three redirects away.
    MovedThrice,
    /// A JPEG in printing colours.
    Cmyk,
    /// A JPEG without colours.
    Grey,
    /// A JPEG that lies on its side and says so in its EXIF data.
    Turned,
    /// A PNG.
    Png,
    /// A PNG of 16 bits a channel.
    SixteenBit,
    /// A PNG with a palette and transparent corners.
    Sticker,
    /// WebP.
    WebP,
    /// A Windows bitmap.
    Bmp,
    /// A GIF that stands still.
    Gif,
    /// The same picture as another one, smaller and compressed anew.
    NearCopy,

    /// 404.
    NotFound,
    /// 403.
    Forbidden,
    /// 500, always.
    ServerError,
    /// Accepts the request and never answers.
    Hangs,
    /// Answers a few bytes at a time, for a minute.
    Dribbles,
    /// Redirects in a circle.
    RedirectLoop,
    /// A chain of a dozen redirects.
    RedirectMaze,
    /// Redirects to another port of the machine it runs on.
    RedirectInside,
    /// An HTML page that calls itself a JPEG.
    Html,
    /// A JPEG that ends in its middle.
    Truncated,
    /// A connection that ends before the body it announced does.
    CutShort,
    /// No bytes.
    Empty,
    /// A picture of one pixel.
    Pixel,
    /// A small PNG of 900 million pixels.
    Bomb,
    /// A GIF with many frames.
    Animated,
    /// A body of 40 MiB, as announced.
    Huge,
    /// A body of 40 MiB that does not say so.
    HugeUnannounced,
    /// Text that is no URL.
    NotAUrl,
    /// A URL of another scheme.
    OtherScheme,
    /// The same bytes as another picture.
    Copy,
    /// A URL that stands in the list already.
    Repeated,
}

/// A body that takes a second: the pause before each piece, and the pieces.
const SLOW: (Duration, usize) = (Duration::from_millis(100), 10);
/// One that takes a minute.
const DRIBBLE: (Duration, usize) = (Duration::from_millis(500), 120);
/// Redirects before a picture that nobody reaches.
const MAZE: usize = 12;

impl Kind {
    /// How many kinds there are.
    pub const COUNT: usize = Self::ODD.len() + Self::DIRT.len() + 1;

    /// Of usable pictures.
    pub(crate) const ODD: [Self; 15] = [
        Self::HealsOnce,
        Self::MovedOnce,
        Self::Grey,
        Self::WebP,
        Self::Slow,
        Self::Turned,
        Self::Png,
        Self::MovedTwice,
        Self::Cmyk,
        Self::HealsTwice,
        Self::Sticker,
        Self::Gif,
        Self::MovedThrice,
        Self::SixteenBit,
        Self::Bmp,
    ];

    /// Of what a list holds besides.
    pub(crate) const DIRT: [Self; 22] = [
        Self::NotFound,
        Self::Copy,
        Self::Truncated,
        Self::Hangs,
        Self::Html,
        Self::Repeated,
        Self::RedirectLoop,
        Self::NotAUrl,
        Self::Empty,
        Self::NearCopy,
        Self::ServerError,
        Self::Pixel,
        Self::CutShort,
        Self::Bomb,
        Self::RedirectInside,
        Self::Forbidden,
        Self::OtherScheme,
        Self::Animated,
        Self::Huge,
        Self::Dribbles,
        Self::RedirectMaze,
        Self::HugeUnannounced,
    ];

    /// What it says of itself, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "a plain picture",
            Self::HealsOnce => "fails once, then answers",
            Self::HealsTwice => "fails twice, then answers",
            Self::Slow => "slow, but arrives",
            Self::MovedOnce | Self::MovedTwice | Self::MovedThrice => "moved elsewhere",
            Self::Cmyk => "printing colours",
            Self::Grey => "without colours",
            Self::Turned => "lies on its side",
            Self::Png | Self::SixteenBit | Self::Sticker | Self::WebP | Self::Bmp | Self::Gif => "another format",
            Self::NearCopy => "nearly another one's copy",
            Self::NotFound | Self::Forbidden | Self::ServerError => "an error page",
            Self::Hangs => "never answers",
            Self::Dribbles => "never finishes",
            Self::RedirectLoop | Self::RedirectMaze => "redirects without end",
            Self::RedirectInside => "redirects to a private address",
            Self::Html => "HTML that calls itself a picture",
            Self::Truncated | Self::CutShort => "ends in the middle",
            Self::Empty => "no bytes",
            Self::Pixel => "a single pixel",
            Self::Bomb => "a decompression bomb",
            Self::Animated => "an animation",
            Self::Huge | Self::HugeUnannounced => "far too large",
            Self::NotAUrl | Self::OtherScheme => "no web address",
            Self::Copy => "another one's copy",
            Self::Repeated => "listed twice",
        }
    }

    /// How its picture is stored.
    pub(crate) fn encoding(self) -> Encoding {
        match self {
            Self::Cmyk => Encoding::CmykJpeg,
            Self::Grey => Encoding::GreyJpeg,
            Self::Turned => Encoding::TurnedJpeg,
            Self::Png => Encoding::Png,
            Self::SixteenBit => Encoding::SixteenBitPng,
            Self::Sticker => Encoding::StickerPng,
            Self::WebP => Encoding::WebP,
            Self::Bmp => Encoding::Bmp,
            Self::Gif => Encoding::Gif,
            Self::NearCopy => Encoding::SmallerJpeg,
            _ => Encoding::Jpeg,
        }
    }

    /// What must become of it; a copy's outcome names its original.
    pub(crate) fn outcome(self, original: Option<String>) -> Outcome {
        match self {
            Self::NotFound | Self::Forbidden | Self::ServerError => Outcome::Failed("http-status"),
            Self::Hangs | Self::Dribbles => Outcome::Failed("timeout"),
            Self::RedirectLoop => Outcome::Failed("redirect-loop"),
            Self::RedirectMaze => Outcome::Failed("too-many-redirects"),
            Self::RedirectInside => Outcome::Failed("blocked-address"),
            Self::CutShort => Outcome::Failed("body-truncated"),
            Self::Huge | Self::HugeUnannounced => Outcome::Failed("too-large"),
            Self::NotAUrl => Outcome::Failed("invalid-url"),
            Self::OtherScheme => Outcome::Failed("unsupported-scheme"),
            Self::Html => Outcome::Refused("not-an-image"),
            Self::Truncated => Outcome::Refused("truncated"),
            Self::Empty => Outcome::Refused("empty"),
            Self::Pixel => Outcome::Refused("too-small"),
            Self::Bomb => Outcome::Refused("too-many-pixels"),
            Self::Animated => Outcome::Refused("animated-beyond-cap"),
            Self::Copy => original.map_or(Outcome::Kept, Outcome::CopyOf),
            _ => Outcome::Kept,
        }
    }

    /// Whether a picture of a bear can be had from it.
    pub(crate) fn shows_a_bear(self) -> bool {
        self.outcome(None) == Outcome::Kept
    }

    /// What is found at `path`, and at the places it leads to.
    pub(crate) fn pages(self, path: &str, subject: Subject) -> Vec<(String, Page)> {
        let one = |page| vec![(path.to_owned(), page)];
        let picture = File::Drawing(subject, self.encoding());
        match self {
            Self::HealsOnce => one(Page::Failing { status: 500, retry_after: None, times: 1, then: picture }),
            Self::HealsTwice => one(Page::Failing { status: 503, retry_after: Some(0), times: 2, then: picture }),
            Self::ServerError => one(Page::Failing { status: 500, retry_after: None, times: u64::MAX, then: picture }),
            Self::NotFound => one(Page::Status(404)),
            Self::Forbidden => one(Page::Status(403)),
            Self::Slow => one(Page::Slow { file: picture, pause: SLOW.0, pieces: SLOW.1 }),
            Self::Dribbles => one(Page::Slow { file: picture, pause: DRIBBLE.0, pieces: DRIBBLE.1 }),
            Self::Hangs => one(Page::Silence),
            Self::MovedOnce => chain(path, &[301], picture),
            Self::MovedTwice => chain(path, &[302, 307], picture),
            Self::MovedThrice => chain(path, &[301, 302, 307], picture),
            Self::RedirectMaze => chain(path, &[302; MAZE], picture),
            Self::RedirectLoop => circle(path),
            Self::RedirectInside => {
                one(Page::Redirect { status: 302, to: "http://127.0.0.1:1/private.jpg".to_owned() })
            }
            Self::Html => one(Page::File(File::Html)),
            Self::Truncated => one(Page::File(File::Truncated(subject))),
            Self::CutShort => one(Page::CutShort(picture)),
            Self::Empty => one(Page::File(File::Empty)),
            Self::Pixel => one(Page::File(File::Pixel)),
            Self::Bomb => one(Page::File(File::Bomb)),
            Self::Animated => one(Page::File(File::Animation(subject))),
            Self::Huge => one(Page::Flood { announced: true }),
            Self::HugeUnannounced => one(Page::Flood { announced: false }),
            Self::NotAUrl | Self::OtherScheme | Self::Repeated => Vec::new(),
            _ => one(Page::File(picture)),
        }
    }
}

/// Redirects with the given statuses, one after another, to a file.
fn chain(path: &str, statuses: &[u16], file: File) -> Vec<(String, Page)> {
    let place = |hop: usize| if hop == 0 { path.to_owned() } else { format!("/moved/{hop}{path}") };
    let hops = statuses.iter().enumerate();
    let redirects = hops.map(|(hop, &status)| (place(hop), Page::Redirect { status, to: place(hop + 1) }));
    redirects.chain([(place(statuses.len()), Page::File(file))]).collect()
}

/// There and back.
fn circle(path: &str) -> Vec<(String, Page)> {
    let there = format!("/moved/round{path}");
    let redirect = |to: &str| Page::Redirect { status: 302, to: to.to_owned() };
    vec![(path.to_owned(), redirect(&there)), (there, redirect(path))]
}
