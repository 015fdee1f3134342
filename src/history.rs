//! What a fit leaves: loss and accuracy of every epoch.

/// One epoch of a fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Its number, counted from one.
    pub epoch: usize,
    /// Mean loss over the epoch's samples, each before the step it led to.
    pub loss: f64,
    /// Share of the epoch's samples that were classified rightly, 0 to 1.
    pub accuracy: f64,
    /// Mean loss over the validation samples, after the epoch.
    pub val_loss: Option<f64>,
    /// Share of the validation samples that were classified rightly, 0 to 1.
    pub val_accuracy: Option<f64>,
    /// Wall-clock seconds of training, validation left out; 0 in the history of a checkpoint from a file, which holds no
    /// times so that the same training gives the same bytes.
    pub seconds: f64,
}

/// The epochs of one or more fits that were completed, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// One entry an epoch.
    pub epochs: Vec<Epoch>,
}
