//! What a classifier gets right, class by class, and its worst mistakes.

use std::fmt;

use crate::error::{Error, Result};
use crate::shape::{product, zeros};

/// The position of the largest of some outputs, the first of equals: the class they stand for.
pub fn top_class(outputs: &[f32]) -> usize {
    let larger = |best, at| if outputs[at] > outputs[best] { at } else { best };
    (1..outputs.len()).fold(0, larger)
}

/// How often samples of one class were taken for another.
///
/// ```
/// use convlane::metrics::ConfusionMatrix;
///
/// // Two classes; the last sample is of class 1 and taken for class 0.
/// let matrix = ConfusionMatrix::new(&[0, 1, 1], &[0.9, 0.1, 0.2, 0.8, 0.7, 0.3])?;
/// assert_eq!(matrix.count(1, 0), 1);
/// assert_eq!(matrix.accuracy(), 2.0 / 3.0);
/// assert_eq!((matrix.precision(0), matrix.recall(0)), (0.5, 1.0));
/// println!("{matrix}");
/// # Ok::<(), convlane::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: usize,
    /// `[truth][predicted]`.
    counts: Vec<usize>,
}

impl ConfusionMatrix {
    /// Counts `outputs` of `[labels][classes]` by label and largest output.
    ///
    /// # Errors
    /// If there is no label, `outputs` are not as many for each, or a label is not the number of an output;
    /// [`Error::TooLarge`] if there is no memory for the counts.
    pub fn new(labels: &[u32], outputs: &[f32]) -> Result<Self> {
        let classes = classes(labels, outputs)?;
        let what = "confusion matrix";
        let mut counts = zeros(what, product(what, &[classes, classes])?)?;
        for (&label, outputs) in labels.iter().zip(outputs.chunks(classes)) {
            counts[label as usize * classes + top_class(outputs)] += 1;
        }
        Ok(ConfusionMatrix { classes, counts })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Samples of class `truth` that were taken for `predicted`.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn count(&self, truth: usize, predicted: usize) -> usize {
        self.row(truth)[predicted]
    }

    /// Samples of class `truth`, by the class they were taken for.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn row(&self, truth: usize) -> &[usize] {
        &self.counts[truth * self.classes..][..self.classes]
    }

    /// Samples in all.
    pub fn samples(&self) -> usize {
        self.counts.iter().sum()
    }

    /// The share of samples on the diagonal, 0 to 1.
    pub fn accuracy(&self) -> f64 {
        let hits: usize = (0..self.classes).map(|class| self.count(class, class)).sum();
        hits as f64 / self.samples() as f64
    }

    /// Of the samples taken for `class`, the share that is of it, 0 to 1; NaN if there is none.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn precision(&self, class: usize) -> f64 {
        let predicted: usize = (0..self.classes).map(|truth| self.count(truth, class)).sum();
        self.count(class, class) as f64 / predicted as f64
    }

    /// Of the samples of `class`, the share that was taken for it, 0 to 1; NaN if there is none.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn recall(&self, class: usize) -> f64 {
        self.count(class, class) as f64 / self.row(class).iter().sum::<usize>() as f64
    }
}

/// A row a true class, a column a predicted one; recall and precision at the margins, `-` where there is none.
impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| if share.is_nan() { "-".to_owned() } else { format!("{:.1}", 100.0 * share) };
        let width = self.counts.iter().max().map_or(0, |most| most.to_string().len()).max("100.0".len()) + 1;
        let line = |head: &str, cells: &mut dyn Iterator<Item = String>| {
            cells.fold(format!("{head:>11}"), |line, cell| line + &format!("{cell:>width$}"))
        };
        let classes = || 0..self.classes;
        writeln!(f, "{}  recall %", line("true as", &mut classes().map(|class| class.to_string())))?;
        for truth in classes() {
            let cell = |&count: &usize| if count == 0 { ".".to_owned() } else { count.to_string() };
            let row = line(&truth.to_string(), &mut self.row(truth).iter().map(cell));
            writeln!(f, "{row}  {:>8}", percent(self.recall(truth)))?;
        }
        writeln!(f, "{}", line("precision %", &mut classes().map(|class| percent(self.precision(class)))))?;
        write!(f, "{} % of {} samples right", percent(self.accuracy()), self.samples())
    }
}

/// A sample that was taken for another class than its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mistake {
    /// Position of the sample.
    pub sample: usize,
    /// Its class.
    pub truth: usize,
    /// The class it was taken for.
    pub predicted: usize,
    /// The output of that class.
    pub confidence: f32,
}

/// All mistakes in `outputs` of `[labels][classes]`, the most confident first.
///
/// ```
/// let [worst, other] = convlane::metrics::mistakes(&[1, 0, 1], &[0.6, 0.4, 0.9, 0.1, 0.8, 0.2])?[..] else { panic!() };
/// assert_eq!((worst.sample, worst.truth, worst.predicted, worst.confidence), (2, 1, 0, 0.8));
/// assert_eq!(other.sample, 0);
/// # Ok::<(), convlane::Error>(())
/// ```
///
/// # Errors
/// As [`ConfusionMatrix::new`].
pub fn mistakes(labels: &[u32], outputs: &[f32]) -> Result<Vec<Mistake>> {
    let rows = outputs.chunks(classes(labels, outputs)?);
    let judged = labels.iter().zip(rows).enumerate().map(|(sample, (&truth, outputs))| {
        let predicted = top_class(outputs);
        Mistake { sample, truth: truth as usize, predicted, confidence: outputs[predicted] }
    });
    let mut mistakes: Vec<_> = judged.filter(|judged| judged.predicted != judged.truth).collect();
    mistakes.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
    Ok(mistakes)
}

/// How many outputs there are for each label, each of which is the number of one.
fn classes(labels: &[u32], outputs: &[f32]) -> Result<usize> {
    if labels.is_empty() {
        return Err(Error::Zero { what: "number of labels" });
    }
    let classes = (outputs.len() / labels.len()).max(1);
    if outputs.len() != classes * labels.len() {
        return Err(Error::Mismatch { what: "outputs", expected: classes * labels.len(), got: outputs.len() });
    }
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(index) => Err(Error::LabelOutOfRange { index, label: labels[index], classes }),
        None => Ok(classes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs that stand for these classes of three.
    fn outputs(classes: &[usize]) -> Vec<f32> {
        classes.iter().flat_map(|&class| (0..3).map(move |at| if at == class { 0.8 } else { 0.1 })).collect()
    }

    #[test]
    fn it_prints_counts_and_margins() {
        let matrix = ConfusionMatrix::new(&[0, 0, 0, 1, 1], &outputs(&[0, 0, 1, 1, 1])).unwrap();
        assert_eq!(
            matrix.to_string(),
            "    true as     0     1     2  recall %
          0     2     1     .      66.7
          1     .     2     .     100.0
          2     .     .     .         -
precision % 100.0  66.7     -
80.0 % of 5 samples right"
        );
    }

    #[test]
    fn rows_are_truth_and_columns_prediction() {
        let matrix = ConfusionMatrix::new(&[2, 2, 1], &outputs(&[0, 2, 1])).unwrap();
        assert_eq!((matrix.count(2, 0), matrix.count(0, 2)), (1, 0));
        assert_eq!((matrix.row(2), matrix.samples(), matrix.classes()), (&[1, 0, 1][..], 3, 3));
        assert_eq!((matrix.recall(2), matrix.precision(2), matrix.precision(0)), (0.5, 1.0, 0.0));
        assert!(matrix.recall(0).is_nan());
    }

    #[test]
    fn equals_go_to_the_first() {
        assert_eq!(top_class(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(top_class(&[0.5]), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let message = |labels: &[u32], outputs: &[f32]| ConfusionMatrix::new(labels, outputs).unwrap_err().to_string();
        assert_eq!(message(&[], &[]), "number of labels must be at least 1, got 0");
        assert_eq!(message(&[0, 0], &[0.0; 5]), "outputs: expected 4, got 5");
        assert_eq!(message(&[0, 0], &[]), "outputs: expected 2, got 0");
        assert_eq!(message(&[0, 2], &[0.0; 4]), "label 1 is 2, but there are 2 classes");
        assert!(mistakes(&[2], &[0.0; 2]).is_err());
    }

    #[test]
    fn a_matrix_that_no_memory_holds_is_refused() {
        // 2^51 bytes of counts: more than an address space has.
        let message = ConfusionMatrix::new(&[0], &vec![0.0; 1 << 24]).unwrap_err().to_string();
        assert_eq!(message, "the size of the confusion matrix overflows the address space");
    }
}
