//! Which of cubek's kernels makes a product: with the card's matrix units or without, with one buffer or two. Those that the
//! card can are tried once for each kind of product.

use crate::{cube, tried};
use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy as Kernel;
use cubek::matmul::strategy::Strategy;
use cubek::std::InputBinding;

/// Ways of products of f32. Kernels of matrix units would round f32 to tf32.
const WHOLE: [&str; 3] = ["simple_unit", "double_unit", "vector"];

/// Ways of products of narrower formats; every card can the first.
const NARROW: [&str; 8] = [
    "simple_unit",
    "double_unit",
    "vector",
    "simple_cmma",
    "double_cmma",
    "ordered_cmma",
    "simple_mma",
    "double_mma",
];

fn ways(format: DType) -> &'static [&'static str] {
    match format {
        DType::F32 => &WHOLE,
        _ => &NARROW,
    }
}

fn way(name: &str) -> Strategy {
    Strategy::MultiLevel(match name {
        "double_unit" => Kernel::DoubleUnit(Default::default()),
        "simple_cmma" => Kernel::SimpleCyclicCmma(Default::default()),
        "double_cmma" => Kernel::DoubleCyclicCmma(Default::default()),
        "ordered_cmma" => Kernel::OrderedDoubleCmma(Default::default()),
        "simple_mma" => Kernel::SimpleCyclicMma(Default::default()),
        "double_mma" => Kernel::DoubleCyclicMma(Default::default()),
        "vector" => Kernel::GemvUnitPerpendicular(Default::default()),
        _ => Kernel::SimpleUnit(Default::default()),
    })
}

/// `a b` for `a [m, k]` and `b [k, n]` of one format, in f32.
pub fn product(a: CubeTensor, b: CubeTensor) -> CubeTensor {
    let ([m, _], [_, n]) = (cube::dims2(&a), cube::dims2(&b));
    let out = cube::empty_of(&a, &[m, n], DType::F32);
    let ways = ways(a.dtype);
    let mut run = |i: usize| multiply(&a, &b, &out, ways[i]).then(|| out.clone());
    let chosen = match tried::pays(&a) {
        true => tried::fastest(&a, &kind(&a, &b), ways, &mut run),
        false => 0,
    };
    // A kind has many sizes: what fits one may not fit the next.
    let made = run(chosen).or_else(|| run(0));
    made.expect("every card can multiply without matrix units")
}

/// Whether the card can multiply this way; if so, it does.
fn multiply(a: &CubeTensor, b: &CubeTensor, out: &CubeTensor, name: &str) -> bool {
    let format = dtype_to_storage_type(a.dtype);
    let [left, right] = [a, b].map(|x| InputBinding::new(x.clone().binding(), format));
    let mut formats = MatmulElems::from_globals(&MatmulGlobalElems {
        lhs: format,
        rhs: format,
        out: dtype_to_storage_type(out.dtype),
    });
    let out = out.clone().binding();
    launch_ref(&way(name), &a.client, left, right, out, &mut formats).is_ok()
}

/// Products of one kind take the same kernel: rows count by their powers of two, as batches are ragged.
fn kind(a: &CubeTensor, b: &CubeTensor) -> String {
    let ([m, k], [_, n]) = (cube::dims2(a), cube::dims2(b));
    // The longer side of a weight is exact, the number of tokens is not.
    let size = |n: usize| {
        if n.is_multiple_of(64) && n > 4096 {
            n
        } else {
            n.next_power_of_two()
        }
    };
    let layout = |x: &CubeTensor| {
        if x.meta.strides()[1] == 1 {
            "rows"
        } else {
            "columns"
        }
    };
    format!(
        "product of {:?}: {} x {} in {}, {} x {} in {}",
        a.dtype,
        size(m),
        size(k),
        layout(a),
        size(k),
        size(n),
        layout(b)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device;
    use crate::ops::Operands;
    use burn::backend::Cube;
    use burn::backend::ops::FloatTensorOps;
    use burn::tensor::{Device, Tensor, TensorData};

    fn matrix(rows: usize, width: usize) -> Tensor<2> {
        let values: Vec<f32> = (0..rows * width)
            .map(|i| (i as f32 * 0.731).sin())
            .collect();
        Tensor::from_data(TensorData::new(values, [rows, width]), &Device::flex())
    }

    /// Whichever is chosen, the product is right: on aligned and ragged sizes, in each layout that layers use.
    #[test]
    fn each_way_that_a_card_can_multiplies_right() {
        let cards = device::found()
            .into_iter()
            .filter(|found| found.backend != "cpu");
        for found in cards {
            let device = device::open(found.backend, found.index).expect("it was found");
            let formats = [Operands::F32, Operands::Bf16, Operands::F16];
            for operands in formats
                .into_iter()
                .filter(|o| device::computes(&device, *o))
            {
                let mut can = vec![0; ways(operands.dtype()).len()];
                for (m, k, n) in [(64, 64, 64), (1, 100, 37), (70, 33, 130)] {
                    for transposed in [false, true] {
                        let sides = [matrix(m, k), matrix(k, n)];
                        let [a, b] = sides.map(|x| x.cast(operands.dtype()).cast(DType::F32));
                        let want = a.clone().matmul(b.clone());
                        let there = |x: Tensor<2>| {
                            cube::primitive(x.to_device(&device).cast(operands.dtype()))
                        };
                        let a = there(a);
                        let b = match transposed {
                            true => Cube::float_transpose(there(b.transpose())),
                            false => there(b),
                        };
                        for (name, can) in ways(operands.dtype()).iter().zip(&mut can) {
                            let out = cube::empty_of(&a, &[m, n], DType::F32);
                            if multiply(&a, &b, &out, name) {
                                *can += 1;
                                let found = cube::tensor(out).to_device(&Device::flex());
                                let far = (found - want.clone()).abs().max().into_scalar::<f32>();
                                assert!(far < 1e-4, "{name} of {m} x {k} x {n}: off by {far}");
                            }
                        }
                    }
                }
                assert_eq!(can[0], 6, "the first can always: {operands:?} {can:?}");
            }
        }
    }
}
