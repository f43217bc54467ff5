//! The body of a recipe: the frames, and what is in the skippable ones behind them.

use super::template::{Template, Wanted};
use super::{MAX_FRAMES, MAX_SKIPPABLE};
use crate::wire::{Fields, put_number};
use crate::{Error, Result};

/// A frame with a part of the plain bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// As the encoder makes it.
    Made { plain_size: u64 },
    /// As it is.
    Carried { plain_size: u64, bytes: Vec<u8> },
}

impl Frame {
    pub(super) const fn plain_size(&self) -> u64 {
        match self {
            Self::Made { plain_size } | Self::Carried { plain_size, .. } => *plain_size,
        }
    }
}

/// A skippable frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Skippable {
    /// The first byte, from 0x50 to 0x5f.
    pub(super) magic: u8,
    pub(super) content: Content,
}

/// The content of a skippable frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Carried(Vec<u8>),
    /// A frame of the text that a template makes.
    Text(Template),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) frames: Vec<Frame>,
    pub(super) skippable: Vec<Skippable>,
}

const BROKEN: Error = Error::BadRecipe { reason: "its body breaks the rules" };

fn bytes(fields: &mut Fields<'_>) -> Result<Vec<u8>> {
    let size = usize::try_from(fields.number()?).map_err(|_| BROKEN)?;
    Ok(fields.bytes(size)?.to_vec())
}

impl Body {
    pub(super) fn read(mut fields: Fields<'_>) -> Result<Self> {
        let (mut frames, mut skippable) = (Vec::new(), Vec::new());
        let count = fields.number()?;
        if count > MAX_FRAMES as u64 {
            return Err(BROKEN);
        }
        for _ in 0..count {
            let number = fields.number()?;
            let plain_size = number >> 1;
            frames.push(match number & 1 {
                0 => Frame::Made { plain_size },
                _ => Frame::Carried { plain_size, bytes: bytes(&mut fields)? },
            });
        }
        let count = fields.number()?;
        if count > MAX_SKIPPABLE {
            return Err(BROKEN);
        }
        for _ in 0..count {
            let (magic, kind) = (fields.byte()?, fields.byte()?);
            let content = match (magic, kind) {
                (0x50..=0x5f, 0) => Content::Carried(bytes(&mut fields)?),
                (0x50..=0x5f, 1) => {
                    let text_size = fields.number()?;
                    Content::Text(Template { bytes: bytes(&mut fields)?, text_size })
                }
                _ => return Err(BROKEN),
            };
            skippable.push(Skippable { magic, content });
        }
        fields.end()?;
        Ok(Self { frames, skippable })
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut body = Vec::new();
        let put_bytes = |body: &mut Vec<u8>, bytes: &[u8]| {
            put_number(body, bytes.len() as u64);
            body.extend_from_slice(bytes);
        };
        put_number(&mut body, self.frames.len() as u64);
        for frame in &self.frames {
            match frame {
                Frame::Made { plain_size } => put_number(&mut body, plain_size << 1),
                Frame::Carried { plain_size, bytes } => {
                    put_number(&mut body, plain_size << 1 | 1);
                    put_bytes(&mut body, bytes);
                }
            }
        }
        put_number(&mut body, self.skippable.len() as u64);
        for Skippable { magic, content } in &self.skippable {
            body.push(*magic);
            match content {
                Content::Carried(bytes) => {
                    body.push(0);
                    put_bytes(&mut body, bytes);
                }
                Content::Text(template) => {
                    body.push(1);
                    put_number(&mut body, template.text_size);
                    put_bytes(&mut body, &template.bytes);
                }
            }
        }
        body
    }

    fn templates(&self) -> impl Iterator<Item = &Template> {
        self.skippable.iter().filter_map(|skippable| match &skippable.content {
            Content::Text(template) => Some(template),
            Content::Carried(_) => None,
        })
    }

    /// Returns the bytes of all texts.
    pub(super) fn text_size(&self) -> u64 {
        self.templates().fold(0, |sum, template| sum.saturating_add(template.text_size))
    }

    /// Returns the facts that the texts have.
    pub(super) fn wanted(&self) -> Result<Wanted> {
        let mut wanted = Wanted::default();
        for template in self.templates() {
            template.add_wanted(&mut wanted)?;
        }
        // A text has more bytes than the stretches that it has.
        let plain = wanted.stretches.iter().filter(|stretch| !stretch.is_crc);
        let size = plain.fold(0u64, |sum, stretch| sum.saturating_add(stretch.size));
        if size > self.text_size() { Err(BROKEN) } else { Ok(wanted) }
    }
}
