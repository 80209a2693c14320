//! How messages become bytes: prost's way, with buffers that suit messages of a few hundred bytes.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// What a call begins with in either direction, in bytes; a larger message lets it grow. Most calls are sessions, which
/// stay open and say little: tonic's own 8 KiB are touched bit by bit, so that memory would grow for half an hour.
const BUFFER: usize = 1 << 10;
/// Messages that are ready together are sent together up to so many bytes, as tonic does by itself.
const SENT_TOGETHER: usize = 32 << 10;

/// Codec of every service of this crate, for messages `T` that are sent and `U` that are received.
#[derive(Debug)]
pub struct SmallBuffers<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for SmallBuffers<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for SmallBuffers<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(settings())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(settings())
    }
}

fn settings() -> BufferSettings {
    BufferSettings::new(BUFFER, SENT_TOGETHER)
}
