//! What the drawings must be: reproducible, all different, and nothing that pixels alone give away.

use std::collections::HashSet;

use super::{Dice, Raster, Subject, draw};
use crate::Class;

/// What the linear models see: so many pixels squared.
const SIDE: usize = 32;
const FEATURES: usize = SIDE * SIDE * 3 + 1;
const LEARNED: u64 = 170;
const TESTED: u64 = 70;
/// A linear model that is wrong less often than this has an easy life.
const HARD: f64 = 0.25;

fn subject(class: Class, number: u64) -> Subject {
    Subject { seed: 3, class, number }
}

#[test]
fn the_same_subject_has_the_same_pixels_and_no_other_has_them() {
    let subjects = Class::ALL.into_iter().flat_map(|class| (0..6).map(move |number| subject(class, number)));
    let drawings: Vec<Raster> = subjects.clone().map(|subject| draw(&subject)).collect();
    for (subject, drawing) in subjects.zip(&drawings) {
        assert_eq!(&draw(&subject), drawing);
    }
    let different: HashSet<&[u8]> = drawings.iter().map(|drawing| &drawing.data[..]).collect();
    assert_eq!(different.len(), drawings.len());
    assert_ne!(draw(&Subject { seed: 4, ..subject(Class::Black, 0) }), drawings[6]);
}

#[test]
fn sizes_and_shapes_of_pictures_vary() {
    let sizes: Vec<(u32, u32)> = (0..40)
        .map(|number| draw(&subject(Class::Teddy, number)))
        .map(|drawing| (drawing.width, drawing.height))
        .collect();
    assert!(
        sizes.iter().all(|(width, height)| (160..=480).contains(width) && (90..=640).contains(height)),
        "{sizes:?}"
    );
    assert!(sizes.iter().any(|(width, height)| width > height) && sizes.iter().any(|(width, height)| width < height));
}

/// The lesson is about networks: what a linear model learns must be far from enough.
#[test]
fn linear_models_on_pixels_do_badly() {
    let (learned, tested) = (pictures(0, LEARNED), pictures(1000, TESTED));
    let softmax = error_of(&Softmax::fit(&learned), &tested);
    let centroid = error_of(&nearest_centroid(&learned), &tested);
    println!("softmax regression is wrong {:.1} %, nearest centroid {:.1} %", softmax * 100.0, centroid * 100.0);
    assert!(softmax > HARD, "softmax regression is wrong in only {softmax}");
    assert!(centroid > HARD, "the nearest centroid is wrong in only {centroid}");
}

/// The colours of a picture's middle square, around zero, and a one.
fn features(drawing: &Raster) -> Vec<f32> {
    let (width, height) = (drawing.width as usize, drawing.height as usize);
    let side = width.min(height);
    let (left, top) = ((width - side) / 2, (height - side) / 2);
    let mut features = vec![0.0; FEATURES];
    for place in 0..SIDE * SIDE {
        let span = |start: usize, cell: usize| start + cell * side / SIDE..start + (cell + 1) * side / SIDE;
        let (columns, rows) = (span(left, place % SIDE), span(top, place / SIDE));
        let count = (columns.len() * rows.len()) as f32 * 255.0;
        for pixel in rows.flat_map(|y| columns.clone().map(move |x| (y * width + x) * 3)) {
            for channel in 0..3 {
                features[place * 3 + channel] += f32::from(drawing.data[pixel + channel]) / count;
            }
        }
    }
    let mut centred: Vec<f32> = features.into_iter().map(|value| value - 0.5).collect();
    centred[FEATURES - 1] = 1.0;
    centred
}

fn pictures(from: u64, count: u64) -> Vec<(usize, Vec<f32>)> {
    let of_class =
        |class| (from..from + count).map(move |number| (class as usize, features(&draw(&subject(class, number)))));
    Class::ALL.into_iter().flat_map(of_class).collect()
}

/// A row of weights for each class; the highest sum wins.
struct Softmax([Vec<f32>; 3]);

impl Softmax {
    fn scores(&self, features: &[f32]) -> [f32; 3] {
        [0, 1, 2].map(|class| self.0[class].iter().zip(features).map(|(weight, value)| weight * value).sum())
    }

    /// Stochastic gradient descent with weight decay and a falling rate.
    fn fit(pictures: &[(usize, Vec<f32>)]) -> Self {
        let mut model = Self([0; 3].map(|_| vec![0.0; FEATURES]));
        let mut order: Vec<usize> = (0..pictures.len()).collect();
        let mut dice = Dice::new(1, 1, 1, 1);
        for epoch in 0..40 {
            dice.shuffle(&mut order);
            let rate = 0.01 / (1.0 + epoch as f32 / 8.0);
            for &index in &order {
                let (label, features) = &pictures[index];
                model.learn(*label, features, rate);
            }
        }
        model
    }

    fn learn(&mut self, label: usize, features: &[f32], rate: f32) {
        let scores = self.scores(features);
        let highest = scores.into_iter().fold(f32::MIN, f32::max);
        let shares = scores.map(|score| (score - highest).exp());
        let sum: f32 = shares.iter().sum();
        for (class, weights) in self.0.iter_mut().enumerate() {
            let step = rate * (f32::from(u8::from(class == label)) - shares[class] / sum);
            for (weight, value) in weights.iter_mut().zip(features) {
                *weight += step * value - rate * 1e-3 * *weight;
            }
        }
    }
}

/// As a linear model: the distance to a mean differs by twice the product with it and its own square.
fn nearest_centroid(pictures: &[(usize, Vec<f32>)]) -> Softmax {
    Softmax([0, 1, 2].map(|class| {
        let own: Vec<&Vec<f32>> =
            pictures.iter().filter(|(label, _)| *label == class).map(|(_, values)| values).collect();
        let mean = |feature: usize| own.iter().map(|values| values[feature]).sum::<f32>() / own.len() as f32;
        let mut weights: Vec<f32> = (0..FEATURES - 1).map(mean).collect();
        let square: f32 = weights.iter().map(|weight| weight * weight).sum();
        weights.push(-square / 2.0);
        weights
    }))
}

fn error_of(model: &Softmax, pictures: &[(usize, Vec<f32>)]) -> f64 {
    let guess =
        |scores: [f32; 3]| (0..3).fold(0, |best, class| if scores[class] > scores[best] { class } else { best });
    let wrong = pictures.iter().filter(|(label, features)| guess(model.scores(features)) != *label).count();
    wrong as f64 / pictures.len() as f64
}
