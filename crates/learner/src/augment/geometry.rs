//! Projective maps of the plane as 3×3 matrices, row by row, acting on (x, y, 1) with coordinates in [−1, 1]. Pure.
//!
//! A map tells for each place of the new picture which place of the old one it shows, so maps compose by multiplication
//! and a picture is sampled once however many there are (`lesson 2`'s transforms: warp, rotate, zoom, flip).

/// A projective map.
pub(crate) type Map = [[f64; 3]; 3];

/// Shows the picture as it is.
pub(crate) const IDENTITY: Map = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// Swaps left and right.
pub(crate) const MIRROR: Map = [[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// Swaps top and bottom.
pub(crate) const UPSIDE_DOWN: Map = [[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]];

/// Swaps rows and columns.
pub(crate) const TRANSPOSE: Map = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]];

/// First `second`, then `first`: the matrix product.
pub(crate) fn compose(first: &Map, second: &Map) -> Map {
    std::array::from_fn(|row| std::array::from_fn(|column| (0..3).map(|k| first[row][k] * second[k][column]).sum()))
}

/// Turns by `degrees`.
pub(crate) fn rotation(degrees: f64) -> Map {
    let (sin, cos) = degrees.to_radians().sin_cos();
    [[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]]
}

/// Magnifies by `scale`, keeping in view the part at (`column`, `row`), each from 0 to 1.
pub(crate) fn zoom(scale: f64, column: f64, row: f64) -> Map {
    let offset = |share: f64| (1.0 - 1.0 / scale) * (2.0 * share - 1.0);
    [[1.0 / scale, 0.0, offset(column)], [0.0, 1.0 / scale, offset(row)], [0.0, 0.0, 1.0]]
}

/// Shows a part of the picture that has `width` and `height` of its sides, the one at (`column`, `row`), each from 0 to 1.
pub(crate) fn crop([width, height]: [f64; 2], column: f64, row: f64) -> Map {
    let offset = |side: f64, share: f64| (1.0 - side) * (2.0 * share - 1.0);
    [[width, 0.0, offset(width, column)], [0.0, height, offset(height, row)], [0.0, 0.0, 1.0]]
}

/// fastai v2's tilt: by `x` and `y` about two axes, where v1 moves four sides apart.
pub(crate) fn tilt(x: f64, y: f64) -> Option<Map> {
    warp([-x, x, -y, y])
}

/// Tilts the picture: `m` moves the corners, each a fraction of half the picture's side.
///
/// The map takes the moved corners to the true ones. `None` where the moved corners make no quadrilateral.
pub(crate) fn warp(m: [f64; 4]) -> Option<Map> {
    let corners = [(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)];
    let moved =
        [(-1.0 - m[3], -1.0 - m[1]), (-1.0 - m[2], 1.0 + m[1]), (1.0 + m[3], -1.0 - m[0]), (1.0 + m[2], 1.0 + m[0])];
    let mut equations = [[0.0; 9]; 8];
    for (index, ((x, y), (to_x, to_y))) in moved.into_iter().zip(corners).enumerate() {
        equations[2 * index] = [x, y, 1.0, 0.0, 0.0, 0.0, -to_x * x, -to_x * y, to_x];
        equations[2 * index + 1] = [0.0, 0.0, 0.0, x, y, 1.0, -to_y * x, -to_y * y, to_y];
    }
    solve(equations).map(|s| [[s[0], s[1], s[2]], [s[3], s[4], s[5]], [s[6], s[7], 1.0]])
}

/// Solves eight linear equations (the ninth column is the right-hand side) by elimination with pivots.
fn solve(mut equations: [[f64; 9]; 8]) -> Option<[f64; 8]> {
    for column in 0..8 {
        let pivot = (column..8).max_by(|&a, &b| equations[a][column].abs().total_cmp(&equations[b][column].abs()))?;
        equations.swap(column, pivot);
        let pivot_row = equations[column];
        if pivot_row[column].abs() < 1e-9 {
            return None;
        }
        for (row, equation) in equations.iter_mut().enumerate() {
            if row != column {
                let factor = equation[column] / pivot_row[column];
                equation.iter_mut().zip(pivot_row).for_each(|(value, above)| *value -= factor * above);
            }
        }
    }
    Some(std::array::from_fn(|row| equations[row][8] / equations[row][row]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(map: &Map, x: f64, y: f64) -> (f64, f64) {
        let [across, down, depth] = map.map(|row| row[0] * x + row[1] * y + row[2]);
        (across / depth, down / depth)
    }

    fn close((x, y): (f64, f64), (to_x, to_y): (f64, f64)) {
        assert!((x - to_x).abs() < 1e-9 && (y - to_y).abs() < 1e-9, "({x}, {y}) is not ({to_x}, {to_y})");
    }

    #[test]
    fn a_warp_takes_the_moved_corners_to_the_true_ones() {
        let m = [0.1, -0.2, 0.15, 0.05];
        let map = warp(m).unwrap();
        close(apply(&map, -1.0 - m[3], -1.0 - m[1]), (-1.0, -1.0));
        close(apply(&map, -1.0 - m[2], 1.0 + m[1]), (-1.0, 1.0));
        close(apply(&map, 1.0 + m[3], -1.0 - m[0]), (1.0, -1.0));
        close(apply(&map, 1.0 + m[2], 1.0 + m[0]), (1.0, 1.0));
    }

    /// `find_coeffs` of fastai 2.8.12 with what its `_WarpCoord` makes of x 0.1 and y −0.15.
    #[test]
    fn a_tilt_has_the_coefficients_of_fastai_v2() {
        let (x, y) = (-4.0 / 129.0, 0.153_100_775_193_798_44);
        let expected = [1.0, x, -0.104_651_162_790_697_67, x, 1.0, y, -0.104_651_162_790_697_67, y, 1.0];
        let found = tilt(0.1, -0.15).unwrap();
        for (found, expected) in found.iter().flatten().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
        }
    }

    #[test]
    fn a_crop_shows_its_part_from_edge_to_edge() {
        let corner = crop([0.5, 0.25], 1.0, 0.0);
        close(apply(&corner, -1.0, -1.0), (0.0, -1.0));
        close(apply(&corner, 1.0, 1.0), (1.0, -0.5));
        close(apply(&crop([0.5, 0.5], 0.5, 0.5), 1.0, -1.0), (0.5, -0.5));
    }

    #[test]
    fn nothing_moved_is_the_identity() {
        for map in [warp([0.0; 4]).unwrap(), rotation(0.0), zoom(1.0, 0.3, 0.9), compose(&MIRROR, &MIRROR)] {
            for (x, y) in [(-1.0, 0.5), (0.25, 0.75)] {
                close(apply(&map, x, y), (x, y));
            }
        }
    }

    #[test]
    fn zoom_stays_inside_and_rotation_keeps_distances() {
        close(apply(&zoom(2.0, 0.0, 0.0), -1.0, -1.0), (-1.0, -1.0));
        close(apply(&zoom(2.0, 1.0, 1.0), 1.0, 1.0), (1.0, 1.0));
        close(apply(&rotation(90.0), 1.0, 0.0), (0.0, 1.0));
    }

    #[test]
    fn composition_applies_the_right_one_first() {
        let map = compose(&zoom(2.0, 0.5, 0.5), &MIRROR);
        close(apply(&map, 1.0, 1.0), (-0.5, 0.5));
    }
}
