//! A batch in parts, for memory that does not hold it at once: gradients are summed up over the parts. Pure.
//!
//! What is learned from is the whole batch: its pictures are altered and mixed together and each counts as it would. What
//! differs is what normalisation sees: it takes mean and variance of each part, and moves its running statistics once for
//! each, so that parts of few pictures are learned from less well. Dropout draws other masks.

use std::ops::Range;

/// Normalisation needs several pictures: of one, nothing is left once its mean is taken away.
pub(crate) const FEWEST: usize = 2;

/// Cuts pictures into as few parts of at most `most` as it takes, none larger than another by more than one. Where a
/// picture would be left alone it goes with others, so that a part may have one more.
pub(crate) fn parts(pictures: Range<usize>, most: Option<usize>) -> Vec<Range<usize>> {
    let (first, count) = (pictures.start, pictures.len());
    let most = most.unwrap_or(count).max(1);
    let parts = count.div_ceil(most).min(count / FEWEST).max(1);
    (0..parts).map(|part| first + part * count / parts..first + (part + 1) * count / parts).collect()
}

/// What to try where parts of `pictures` did not fit; `None` where nothing smaller can be learned from.
pub(crate) fn smaller(pictures: usize) -> Option<usize> {
    (pictures > FEWEST).then(|| (pictures / 2).max(FEWEST)).filter(|fewer| parts_get_smaller(pictures, *fewer))
}

/// Three pictures stay together however few are asked for.
fn parts_get_smaller(pictures: usize, fewer: usize) -> bool {
    parts(0..pictures, Some(fewer)).iter().all(|part| part.len() < pictures)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(count: usize, most: usize) -> Vec<usize> {
        parts(0..count, Some(most)).into_iter().map(|part| part.len()).collect()
    }

    #[test]
    fn parts_cover_the_batch_evenly_and_no_picture_is_alone() {
        assert_eq!((parts(0..64, None).len(), sizes(64, 64)), (1, vec![64]));
        assert_eq!(sizes(64, 32), [32, 32]);
        assert_eq!(sizes(10, 4), [3, 3, 4]);
        assert_eq!(sizes(5, 2), [2, 3]);
        assert_eq!((sizes(3, 2), sizes(2, 2), sizes(2, 1)), (vec![3], vec![2], vec![2]));
        for (count, most) in (2..40).flat_map(|count| (2..45).map(move |most| (count, most))) {
            let parts = parts(7..7 + count, Some(most));
            assert_eq!((parts[0].start, parts[parts.len() - 1].end), (7, 7 + count));
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert!(parts.iter().all(|part| part.len() >= 2 && part.len() <= most.max(2) + 1), "{count} {most}");
        }
    }

    #[test]
    fn memory_that_runs_out_halves_the_parts_to_the_fewest() {
        assert_eq!([64, 7, 5, 4, 3, 2].map(smaller), [Some(32), Some(3), Some(2), Some(2), None, None]);
    }
}
