//! A constraint system that keeps, per variable, the rows it stands in: the transposed QAP.

use bellperson::{ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use blstrs::Scalar;

/// Coefficient and row of each occurrence of one variable.
pub(super) type Column = Vec<(Scalar, usize)>;

/// The columns of the three matrices A, B, C for one kind of variable.
pub(super) type Matrices = [Vec<Column>; 3];

/// What synthesis leaves behind.
#[derive(Default)]
pub(super) struct Assembly {
    pub(super) inputs: Matrices,
    pub(super) auxiliaries: Matrices,
    pub(super) rows: usize,
}

impl Assembly {
    pub(super) fn input_count(&self) -> usize {
        let [a, ..] = &self.inputs;
        a.len()
    }

    fn add_column(matrices: &mut Matrices) -> usize {
        let [a, ..] = &*matrices;
        let index = a.len();
        matrices.iter_mut().for_each(|m| m.push(Column::new()));
        index
    }
}

impl ConstraintSystem<Scalar> for Assembly {
    type Root = Self;

    fn new() -> Self {
        Self::default()
    }

    fn is_extensible() -> bool {
        false
    }

    fn alloc<F, A, AR>(&mut self, _: A, _: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        Ok(Variable::new_unchecked(Index::Aux(Self::add_column(&mut self.auxiliaries))))
    }

    fn alloc_input<F, A, AR>(&mut self, _: A, _: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        Ok(Variable::new_unchecked(Index::Input(Self::add_column(&mut self.inputs))))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LB: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LC: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
    {
        let zero = LinearCombination::zero;
        let sides = [a(zero()), b(zero()), c(zero())];
        for (side, (inputs, auxiliaries)) in sides.iter().zip(self.inputs.iter_mut().zip(self.auxiliaries.iter_mut())) {
            for (variable, coefficient) in side.iter() {
                let column = match variable.get_unchecked() {
                    Index::Input(i) => inputs.get_mut(i),
                    Index::Aux(i) => auxiliaries.get_mut(i),
                };
                if let Some(column) = column {
                    column.push((*coefficient, self.rows));
                }
            }
        }
        self.rows += 1;
    }

    fn push_namespace<NR, N>(&mut self, _: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
    }

    fn pop_namespace(&mut self) {}

    fn get_root(&mut self) -> &mut Self {
        self
    }
}
