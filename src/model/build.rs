//! A decoder from a spec and something that knows the values: a checkpoint's files or a seed.

use super::decoder::{Block, Body, Decoder, Embedding, Mlp, Norm, SelfAttention};
use super::linear::{Linear, Lora, Packed, Weight};
use super::spec::{DecoderSpec, Head};
use crate::error::Result;
use burn::module::Param;
use burn::tensor::{DType, Device, Tensor, TensorData};
use duel_backends::ops::{Nf4, Operands};
use std::sync::Arc;

/// Where values come from: row-major elements of the tensor of this name and shape.
pub trait Values {
    /// The elements, as many as the shape has.
    ///
    /// # Errors
    /// What is wrong with the file, naming it and the tensor.
    fn values(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>>;
}

/// The adapter that [`Decoder::adapt`] puts on.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraShape {
    /// Rank.
    pub r: usize,
    /// Numerator of the scale.
    pub alpha: f64,
    /// Scale by `alpha / sqrt(r)` instead of `alpha / r`.
    pub rank_stabilised: bool,
    /// Last parts of the names of the layers that get one, as in PEFT: `q_proj`, `up_proj`, …
    pub targets: Vec<String>,
}

impl LoraShape {
    /// What the low-rank product is multiplied with.
    pub fn scale(&self) -> f64 {
        let r = self.r as f64;
        self.alpha / if self.rank_stabilised { r.sqrt() } else { r }
    }

    /// Whether the layer of this name (`model.layers.0.mlp.up_proj`) gets one.
    fn names(&self, module: &str) -> bool {
        let last = module.rsplit('.').next();
        self.targets.iter().any(|target| Some(&**target) == last)
    }
}

impl Block {
    /// The linear layers by their names inside the block, in the order of the forward pass: all that an
    /// adapter may stand beside.
    fn linears(&mut self) -> [(&'static str, &mut Linear); 7] {
        let (attention, mlp) = (&mut self.self_attn, &mut self.mlp);
        [
            ("self_attn.q_proj", &mut attention.q_proj),
            ("self_attn.k_proj", &mut attention.k_proj),
            ("self_attn.v_proj", &mut attention.v_proj),
            ("self_attn.o_proj", &mut attention.o_proj),
            ("mlp.gate_proj", &mut mlp.gate_proj),
            ("mlp.up_proj", &mut mlp.up_proj),
            ("mlp.down_proj", &mut mlp.down_proj),
        ]
    }
}

struct Builder<'a> {
    values: &'a mut dyn Values,
    device: Device,
    kept: Kept,
}

/// How a decoder's matrices are kept and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// What their products read.
    pub operands: Operands,
    /// Nothing but adapters will be trained.
    pub frozen: bool,
    /// Those of the blocks in 4 bits.
    pub packed: bool,
}

impl Kept {
    /// The same without 4 bits.
    pub fn unpacked(self) -> Self {
        Self {
            packed: false,
            ..self
        }
    }
}

impl Builder<'_> {
    fn matrix(&mut self, name: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>> {
        let values = self.values.values(name, &shape)?;
        let data = TensorData::new(values, shape);
        Ok(Param::from_tensor(Tensor::from_data(data, &self.device)).set_require_grad(false))
    }

    /// A matrix that may be frozen: in the operands' format then.
    fn kept_matrix(&mut self, name: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>> {
        let values = self.values.values(name, &shape)?;
        let dtype = match self.kept.frozen {
            true => self.kept.operands.dtype(),
            false => DType::F32,
        };
        let data = TensorData::new(values, shape).convert_dtype(dtype);
        let tensor = Tensor::from_data(data, (&self.device, dtype));
        Ok(Param::from_tensor(tensor).set_require_grad(false))
    }

    /// A layer's matrix.
    fn weight(&mut self, name: &str, shape: [usize; 2]) -> Result<Weight> {
        let in_block = name.starts_with("model.layers.");
        if !(self.kept.packed && in_block) {
            return self.kept_matrix(name, shape).map(Weight::Whole);
        }
        let values = self.values.values(name, &shape)?;
        let codes = Arc::new(Nf4::new(&values, shape, &self.device));
        Ok(Weight::Packed(Packed { codes }))
    }

    fn vector(&mut self, name: &str, width: usize) -> Result<Param<Tensor<1>>> {
        let values = self.values.values(name, &[width])?;
        let data = TensorData::new(values, [width]);
        Ok(Param::from_tensor(Tensor::from_data(data, &self.device)).set_require_grad(false))
    }

    fn linear(&mut self, name: &str, out: usize, input: usize, bias: bool) -> Result<Linear> {
        let weight = self.weight(&format!("{name}.weight"), [out, input])?;
        let bias = match bias {
            true => Some(self.vector(&format!("{name}.bias"), out)?),
            false => None,
        };
        Ok(Linear {
            bias,
            operands: self.kept.operands,
            ..Linear::new(weight)
        })
    }

    fn norm(&mut self, name: &str, width: usize, spec: &DecoderSpec) -> Result<Norm> {
        let weight = self.vector(&format!("{name}.weight"), width)?;
        Ok(Norm {
            weight,
            plus_one: spec.norm_plus_one,
        })
    }

    fn attention(&mut self, name: &str, spec: &DecoderSpec) -> Result<SelfAttention> {
        let width = spec.num_attention_heads * spec.head_dim;
        let kv_width = spec.num_key_value_heads * spec.head_dim;
        let (hidden, bias) = (spec.hidden_size, spec.qkv_bias);
        let mut head_norm = |which: &str| match spec.qk_norm {
            true => self
                .norm(&format!("{name}.{which}"), spec.head_dim, spec)
                .map(Some),
            false => Ok(None),
        };
        let (q_norm, k_norm) = (head_norm("q_norm")?, head_norm("k_norm")?);
        Ok(SelfAttention {
            q_proj: self.linear(&format!("{name}.q_proj"), width, hidden, bias)?,
            k_proj: self.linear(&format!("{name}.k_proj"), kv_width, hidden, bias)?,
            v_proj: self.linear(&format!("{name}.v_proj"), kv_width, hidden, bias)?,
            o_proj: self.linear(&format!("{name}.o_proj"), hidden, width, spec.o_bias)?,
            q_norm,
            k_norm,
        })
    }

    fn block(&mut self, name: &str, spec: &DecoderSpec) -> Result<Block> {
        let (hidden, inner, bias) = (spec.hidden_size, spec.intermediate_size, spec.mlp_bias);
        let mut around = |which: &str| match spec.post_norms {
            true => self
                .norm(&format!("{name}.{which}"), hidden, spec)
                .map(Some),
            false => Ok(None),
        };
        let before = around("pre_feedforward_layernorm")?;
        let behind = around("post_feedforward_layernorm")?;
        let after = format!("{name}.post_attention_layernorm");
        Ok(Block {
            pre_feedforward_layernorm: before,
            post_feedforward_layernorm: behind,
            input_layernorm: self.norm(&format!("{name}.input_layernorm"), hidden, spec)?,
            self_attn: self.attention(&format!("{name}.self_attn"), spec)?,
            post_attention_layernorm: self.norm(&after, hidden, spec)?,
            mlp: Mlp {
                gate_proj: self.linear(&format!("{name}.mlp.gate_proj"), inner, hidden, bias)?,
                up_proj: self.linear(&format!("{name}.mlp.up_proj"), inner, hidden, bias)?,
                down_proj: self.linear(&format!("{name}.mlp.down_proj"), hidden, inner, bias)?,
            },
        })
    }
}

impl Decoder {
    /// Builds the decoder of `spec` on `device`, in f32.
    ///
    /// # Errors
    /// Whatever `values` reports.
    pub fn build(spec: &DecoderSpec, values: &mut dyn Values, device: &Device) -> Result<Self> {
        Self::build_kept(spec, values, device, Kept::default())
    }

    /// The same with its matrices kept as asked.
    ///
    /// # Errors
    /// Whatever `values` reports.
    pub fn build_kept(
        spec: &DecoderSpec,
        values: &mut dyn Values,
        device: &Device,
        kept: Kept,
    ) -> Result<Self> {
        let mut builder = Builder {
            values,
            device: device.clone(),
            kept,
        };
        let (vocab, hidden) = (spec.vocab_size, spec.hidden_size);
        let weight = builder.kept_matrix("model.embed_tokens.weight", [vocab, hidden])?;
        let mut layers = Vec::with_capacity(spec.num_hidden_layers);
        for i in 0..spec.num_hidden_layers {
            layers.push(builder.block(&format!("model.layers.{i}"), spec)?);
        }
        let model = Body {
            embed_tokens: Embedding { weight },
            layers,
            norm: builder.norm("model.norm", hidden, spec)?,
        };
        let own_head = spec.head == Head::LanguageModel && !spec.tie_word_embeddings;
        let lm_head = match own_head {
            true => Some(builder.linear("lm_head", vocab, hidden, false)?),
            false => None,
        };
        let score = match spec.head {
            Head::Score => Some(Linear::new(Weight::Whole(
                builder.matrix("score.weight", [1, hidden])?,
            ))),
            Head::LanguageModel | Head::Gated => None,
        };
        Ok(Self {
            model,
            lm_head,
            score,
            spec: Arc::new(spec.clone()),
            operands: kept.operands,
            tape: None,
        })
    }

    /// The decoder under a score head `[1, hidden]` instead of its output head.
    pub fn with_score(mut self, spec: DecoderSpec, values: Vec<f32>, device: &Device) -> Self {
        let data = TensorData::new(values, [1, spec.hidden_size]);
        let weight = Param::from_tensor(Tensor::from_data(data, device)).set_require_grad(false);
        self.score = Some(Linear::new(Weight::Whole(weight)));
        self.lm_head = None;
        self.spec = Arc::new(spec);
        self
    }

    /// The decoder under no head of its own.
    pub fn without_head(mut self, spec: DecoderSpec) -> Self {
        self.score = None;
        self.lm_head = None;
        self.spec = Arc::new(spec);
        self
    }

    /// The decoder with one more score head `[hidden]` below those it has.
    ///
    /// # Panics
    /// If it has none.
    pub fn with_head_more(self, values: Vec<f32>) -> Self {
        let weight = self.score_weight();
        let data = TensorData::new(values, [1, self.spec.hidden_size]);
        let more = Tensor::from_data(data, &weight.device());
        self.with_heads(Tensor::cat(vec![weight, more], 0))
    }

    /// The decoder with the first of its score heads alone.
    ///
    /// # Panics
    /// If it has none.
    pub fn with_first_head(self) -> Self {
        let first = self.score_weight().narrow(0, 0, 1);
        self.with_heads(first)
    }

    fn score_weight(&self) -> Tensor<2> {
        let head = self
            .score
            .as_ref()
            .expect("a reward model has a score head");
        head.weight.whole().without_autodiff()
    }

    fn with_heads(mut self, weight: Tensor<2>) -> Self {
        let weight = Param::from_tensor(weight).set_require_grad(false);
        self.score = Some(Linear::new(Weight::Whole(weight)));
        self
    }

    /// Puts a low-rank adapter beside every linear layer that `shape` names.
    ///
    /// # Errors
    /// Whatever `values` reports.
    pub fn adapt(self, shape: &LoraShape, values: &mut dyn Values) -> Result<Self> {
        let shape_of = |module: &str| shape.names(module).then(|| (shape.r, shape.scale()));
        self.adapt_where(&shape_of, values)
    }

    /// Puts a low-rank adapter beside every linear layer for whose name (`model.layers.0.mlp.up_proj`)
    /// `shape_of` gives a rank and a scale: those of a foreign adapter may differ from layer to layer.
    ///
    /// # Errors
    /// Whatever `values` reports.
    pub fn adapt_where(
        mut self,
        shape_of: &dyn Fn(&str) -> Option<(usize, f64)>,
        values: &mut dyn Values,
    ) -> Result<Self> {
        let device = self.device();
        let kept = Kept::default();
        let mut builder = Builder {
            values,
            device,
            kept,
        };
        for (i, block) in self.model.layers.iter_mut().enumerate() {
            for (name, layer) in block.linears() {
                let name = format!("model.layers.{i}.{name}");
                let Some((r, scale)) = shape_of(&name) else {
                    continue;
                };
                let [out, input] = layer.weight.dims();
                layer.lora = Some(Lora {
                    a: builder.matrix(&format!("{name}.lora_A"), [r, input])?,
                    b: builder.matrix(&format!("{name}.lora_B"), [out, r])?,
                    scale,
                });
            }
        }
        Ok(self)
    }

    /// The decoder with every adapter added into its weight.
    pub fn merged(self) -> Self {
        self.each_linear(Linear::merged)
    }

    /// Numbers in the matrices that are kept in 4 bits.
    pub(super) fn packed_count(&self) -> usize {
        let blocks = self.model.layers.iter();
        let of_block = |block: &Block| -> usize {
            // A clone shares its weights.
            let mut block = block.clone();
            let packed = block
                .linears()
                .into_iter()
                .filter_map(|(_, layer)| match &layer.weight {
                    Weight::Packed(packed) => Some(packed.codes.dims().iter().product::<usize>()),
                    Weight::Whole(_) => None,
                });
            packed.sum()
        };
        blocks.map(of_block).sum()
    }

    /// The base model under the adapters: the reference policy of a LoRA run.
    pub fn without_adapters(self) -> Self {
        self.each_linear(|layer| Linear {
            lora: None,
            ..layer
        })
    }

    /// Whether every adapter is of this shape and on these layers.
    pub fn carries(&self, shape: &LoraShape) -> bool {
        self.model.layers.iter().all(|block| {
            // A clone shares its weights.
            block.clone().linears().iter().all(|(name, layer)| {
                let wanted = shape.names(name);
                match &layer.lora {
                    Some(lora) => {
                        let same = lora.a.val().dims()[0] == shape.r;
                        wanted && same && (lora.scale - shape.scale()).abs() < 1e-9
                    }
                    None => !wanted,
                }
            })
        })
    }

    fn each_linear(mut self, f: impl Fn(Linear) -> Linear) -> Self {
        for block in &mut self.model.layers {
            for (_, layer) in block.linears() {
                *layer = f(layer.clone());
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Key;
    use crate::model::files::config::HfConfig;
    use crate::model::init::Random;

    fn decoder() -> Decoder {
        let config = serde_json::json!({
            "architectures": ["LlamaForCausalLM"], "vocab_size": 5, "hidden_size": 4, "intermediate_size": 6,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1
        });
        let spec = HfConfig::from_value(config).and_then(|config| config.resolve());
        let mut values = Random::new(Key::new(1), 0.1);
        Decoder::build(&spec.expect("a spec"), &mut values, &Device::flex()).expect("built")
    }

    /// An adapter goes where PEFT's name of the layer says, whatever list of layers was walked.
    #[test]
    fn adapters_bear_the_names_of_the_parameters_they_stand_beside() {
        let targets = crate::recipe::Lora::MODULES.map(str::to_owned);
        for many in [&targets[..], &targets[4..5]] {
            let shape = LoraShape {
                r: 2,
                alpha: 4.0,
                rank_stabilised: false,
                targets: many.to_vec(),
            };
            let mut values = Random::new(Key::new(2), 0.1);
            let adapted = decoder().adapt(&shape, &mut values).expect("adapted");
            let names: Vec<String> = adapted.parameters().into_iter().map(|p| p.name).collect();
            let factors: Vec<&String> = names.iter().filter(|n| n.ends_with("lora_A")).collect();
            assert_eq!(factors.len(), 2 * many.len());
            for factor in factors {
                let layer = factor.trim_end_matches(".lora_A");
                assert!(names.contains(&format!("{layer}.weight")), "{factor}");
                assert!(shape.names(layer), "{factor}");
            }
            assert!(adapted.carries(&shape) && !decoder().carries(&shape));
            let wider = LoraShape { r: 3, ..shape };
            assert!(!adapted.carries(&wider));
            assert!(!adapted.clone().without_adapters().has_adapters());
            assert!(!adapted.merged().has_adapters());
        }
    }
}
