//! The known word that a mistyped one was probably meant to be.

/// Longer words, and more than so many known ones, are not compared, so that a hostile manifest costs
/// little.
const LONGEST: usize = 64;
const MOST: usize = 1000;

/// The nearest of `known`, if one is near: equal but for case, or with about one mistake per three
/// letters (a wrong, missing, additional or swapped letter each).
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let letters = fold(word);
    if letters.is_empty() || letters.len() > LONGEST {
        return None;
    }
    let allowed = (letters.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .take(MOST)
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (distance(&letters, &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case, `-` and `_` make no difference.
fn fold(word: &str) -> Vec<char> {
    word.chars()
        .take(LONGEST + 1)
        .filter(|c| !matches!(c, '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// The optimal string alignment distance.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let replaced = last[j] + usize::from(a != b);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                let swapped: usize = before_last[j - 1];
                best = best.min(swapped + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["PyTorchJob", "TFJob", "MPIJob", "imagePullPolicy", "nprocPerNode"];
        for (word, expected) in [
            ("PytorchJob", Some("PyTorchJob")),
            ("PyTorchJobs", Some("PyTorchJob")),
            ("PyTrochJob", Some("PyTorchJob")),
            ("tfjob", Some("TFJob")),
            ("nproc_per_node", Some("nprocPerNode")),
            ("imagePullPolicies", Some("imagePullPolicy")),
            ("Deployment", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(nearest(&"a".repeat(100_000), known), None);
    }

    #[test]
    fn distances_count_single_mistakes() {
        let d = |a: &str, b: &str| distance(&fold(a), &fold(b));
        assert_eq!(d("abc", "abc"), 0);
        assert_eq!(d("abc", "acb"), 1);
        assert_eq!(d("abc", "ab"), 1);
        assert_eq!(d("abc", "xabc"), 1);
        assert_eq!(d("", "abc"), 3);
        assert_eq!(d("ca", "abc"), 3);
    }
}
