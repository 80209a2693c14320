//! Drawings of bears: every picture of the demo web, made of arithmetic alone.
//!
//! A picture is a pure function of its [`Subject`]. Only additions, multiplications, divisions and square roots are used,
//! which every machine rounds the same, so the same subject has the same pixels everywhere.

mod background;
mod bears;
mod camera;
mod canvas;
mod colour;
mod dice;
mod noise;
mod occlusion;
mod paint;
mod scene;
mod shape;

pub(crate) use canvas::Raster;
pub(crate) use dice::Dice;
pub(crate) use scene::{Subject, draw};

#[cfg(test)]
mod tests;
