#include "paper.h"

/* Tables of codes are alike everywhere. */
#define NEIGHBOUR_COLUMNS                                                                          \
    {"code", "title", FORM_TEXT}, {"upright", "upright", FORM_BAR},                                \
        {"quarter turn", "90", FORM_BAR},                                                          \
    {                                                                                              \
        "any angle", "any", FORM_BAR                                                               \
    }

/* A property of molecules by its ten nearest neighbours. */
#define R2(title, property)                                                                        \
    {                                                                                              \
        "R2, " title, "r2_" #property "_raw_10nn", "r2_" #property "_sorted_10nn", FORM_BAR        \
    }

const char *const introduction =
    "The latent code of an equivariant network moves when its input moves: one digit, turned four "
    "ways, has four codes, and a molecule has one for every order of its atoms. Distances, "
    "neighbours "
    "and predictors then depend on how an input happened to lie. An invariant projection gives "
    "each "
    "input one code. The three experiments of Hansen, Calissano and Feragen, <i>Interpreting "
    "Equivariant Representations</i> (ICML 2024), are run here with data, networks and sizes of "
    "our "
    "own; no number is the paper's.";

const section sections[SECTIONS] = {
    {
        .name = "digits",
        .title = "Digits: an equivariant classifier",
        .words =
            "A network whose maps turn with its input (C4, four group convolutions, {parameters|d} "
            "parameters) saw {train_images|d} upright digits {epochs|d} times and names "
            "{test_accuracy} of {test_images|d} test digits rightly, {test_accuracy_90} in quarter "
            "turns, {test_accuracy_any} in any turn. Its latents turn with the digit, but "
            "for {equivariance_error|e} of their size. The tables show how often a test digit's "
            "five "
            "nearest neighbours among the codes of the <i>upright</i> training digits name its "
            "class, when the test digit is upright, in a random quarter turn (a quarter of them "
            "lie upright by chance), or in any turn.",
        .result =
            "<b>Digits.</b> Among the codes of upright digits, a digit in a quarter turn finds its "
            "class in {knn_raw_90} of the cases by its raw latent, and in {knn_linear_90} by the "
            "linear projection, as it does upright. A classifier reads the turn itself from raw "
            "latents ({orientation_raw}) and guesses from projected ones ({orientation_linear}).",
        .blocks =
            {
                {
                    .heading = "{layers.0.title}: every kind of code",
                    .words =
                        "A latent is 16 fields, each of four maps (one for every quarter turn) of "
                        "7 x 7 numbers. Raw latents find the class of {knn_raw_upright} of the "
                        "upright digits, but of {knn_raw_90} of the turned ones. Pooling over the "
                        "group alone leaves a map that still turns "
                        "({knn_group_max_90}). A projection says the same of a digit however it "
                        "is turned: {knn_linear_90} for the linear one with 64 templates, "
                        "{knn_max_90} for max, {knn_sorted_90} for sorted. What it costs where "
                        "nothing is turned is the difference in the first column. The distance of "
                        "the orbits themselves is what a perfect projection would keep. "
                        "<i>Change</i> is the largest change of a code when its digit is turned, "
                        "against the code's size (a cdf counts, and a count at a threshold may "
                        "change by a quarter); <i>inside / between</i> compares the distance of "
                        "a digit's codes in two turns with that of two digits.",
                    .rows = "layers.0.codes",
                    .columns = {NEIGHBOUR_COLUMNS,
                                {"change", "invariance_error", FORM_SMALL},
                                {"inside / between", "spread", FORM_SMALL}},
                },
                {
                    .heading = "What a picture shows",
                    .words =
                        "Fours and sevens in all four turns, in the plane of the upright ones' "
                        "first two principal components. Raw, turned digits leave their "
                        "class; projected, all turns of a digit are one point.",
                    .pictures = {{"digits-raw.png", "raw latents of turned digits"},
                                 {"digits-linear.png", "projected codes of turned digits"}},
                },
                {
                    .heading = "{layers.1.title}",
                    .words =
                        "With no space left, a turn only makes the four group elements change "
                        "places: raw latents lose less ({layers.1.codes.0.90}), and group pooling "
                        "is invariant. The linear projection then is the mean over the group, "
                        "seen through templates.",
                    .rows = "layers.1.codes",
                    .columns = {NEIGHBOUR_COLUMNS, {"change", "invariance_error", FORM_SMALL}},
                },
                {
                    .heading = "{layers.2.title}",
                    .words =
                        "The earlier the layer, the more a code is a picture of its input: raw "
                        "latents lose more to a turn, and the linear projection, which keeps "
                        "the mean over four turned maps, loses more when nothing is turned.",
                    .rows = "layers.2.codes",
                    .columns = {NEIGHBOUR_COLUMNS, {"change", "invariance_error", FORM_SMALL}},
                },
                {
                    .heading = "{layers.3.title}",
                    .rows = "layers.3.codes",
                    .columns = {NEIGHBOUR_COLUMNS, {"change", "invariance_error", FORM_SMALL}},
                },
                {
                    .heading = "How many templates",
                    .words = "How often a digit in a quarter turn finds its class, last layer "
                             "with space left; the last two columns: in any turn. Sorted codes "
                             "have four numbers a template.",
                    .rows = "templates",
                    .columns = {{"templates", "k", FORM_WHOLE},
                                {"linear", "linear_90", FORM_BAR},
                                {"max", "max_90", FORM_BAR},
                                {"sorted", "sorted_90", FORM_BAR},
                                {"linear, any angle", "linear_any", FORM_BAR},
                                {"sorted, any angle", "sorted_any", FORM_BAR}},
                },
                {
                    .heading = "How much of the orientation is left",
                    .words =
                        "A linear classifier is asked for the quarter turn that a digit is in "
                        "(guessing gives 0.25), another one, trained on codes of upright digits, "
                        "for the class. From raw latents it names {orientation_raw} of the turns "
                        "rightly, from linear codes {orientation_linear}.",
                    .rows = "probes",
                    .columns = {{"code", "title", FORM_TEXT},
                                {"orientation", "orientation", FORM_BAR},
                                {"class, upright", "upright", FORM_BAR},
                                {"class, quarter turn", "90", FORM_BAR}},
                },
            },
        .goals =
            {
                {"test accuracy", "test_accuracy", NULL, '>', 0.95},
                {"linear projection, quarter turns", "knn_linear_90", NULL, '>', 0.94},
                {"linear projection, quarter turns minus upright", "knn_linear_90",
                 "knn_linear_upright", '>', 0},
                {"quarter turns, linear projection minus raw latents", "knn_linear_90",
                 "knn_raw_90", '>', 0.2},
                {"linear projection, any angle", "knn_linear_any", NULL, '>', 0.82},
                {"largest change of projected codes in a turn", "invariance_error", NULL, '<',
                 1e-5},
                {"error of latents in turning with the digit", "equivariance_error", NULL, '<',
                 1e-5},
                {"orientation read from raw latents", "orientation_raw", NULL, '>', 0.8},
                {"orientation read from projected codes", "orientation_linear", NULL, '<', 0.35},
            },
    },
    {
        .name = "molecules",
        .title = "Molecules: a permutation-equivariant autoencoder",
        .words =
            "A graph autoencoder whose code has one number a heavy atom saw {train_molecules|d} "
            "molecules ({molecules_per_s|d} a second). It rebuilds {node_accuracy} of the atoms, "
            "{pair_accuracy} of the pairs and {molecule_accuracy} of the molecules that it never "
            "saw. Another order of the atoms permutes the code; sorting it is an isometric cross "
            "section (distances of sorted codes are the smallest over all orders), so nothing but "
            "the "
            "order is lost. Atoms are shuffled before they are "
            "encoded.",
        .result =
            "<b>Molecules.</b> The ten nearest molecules explain {r2_gap_raw_10nn} of the variance "
            "of the energy gap by raw codes, {r2_gap_sorted_10nn} by sorted ones. On straight "
            "lines "
            "between two raw codes {valid_raw} of the steps are molecules, between sorted ones "
            "{valid_sorted}.",
        .blocks =
            {
                {
                    .heading = "Raw and sorted codes",
                    .words = "R2 is the share of a property's variance that the ten nearest "
                             "molecules explain, below 0 where they do worse than the mean. HOMO "
                             "and LUMO are the energies of the highest filled and the lowest "
                             "empty orbital, the gap is their difference. The own copy is the same "
                             "molecule with its atoms "
                             "in another order. A step on the straight line between the "
                             "codes of two molecules is valid if what is decoded there is a "
                             "molecule: in one piece, with no more bonds than its atoms can have.",
                    .pairs = {R2("HOMO", homo),
                              R2("LUMO", lumo),
                              R2("gap", gap),
                              R2("dipole moment", mu),
                              R2("polarisability", alpha),
                              R2("heat capacity", cv),
                              R2("heavy atoms", heavy_atoms),
                              {"own copy among the nearest", "own_raw", "own_sorted", FORM_BAR},
                              {"valid steps on a line", "valid_raw", "valid_sorted", FORM_BAR},
                              {"change when atoms are permuted", "invariance_error_raw",
                               "invariance_error", FORM_SMALL}},
                },
                {
                    .words = "The plane of the first two principal components, some molecules in "
                             "many orders of their atoms, coloured by their gap:",
                    .pictures = {{"molecules-codes.png", "codes of molecules, raw and sorted"}},
                },
                {
                    .words = "Straight lines between the codes of two molecules (the first and "
                             "the last), decoded step by step; green is a molecule. Of all lines "
                             "between sorted codes it is the one with most molecules:",
                    .pictures = {{"molecules-lines.svg", "steps between two molecules"}},
                },
            },
        .goals =
            {
                {"atoms rebuilt", "node_accuracy", NULL, '>', 0.98},
                {"pairs rebuilt", "pair_accuracy", NULL, '>', 0.90},
                {"molecules rebuilt", "molecule_accuracy", NULL, '>', 0.18},
                {"own copy nearest, sorted", "own_sorted", NULL, '>', 0.999},
                {"own copy nearest, raw", "own_raw", NULL, '<', 0.1},
                {"gain in R2, gap", "r2_gap_sorted_10nn", "r2_gap_raw_10nn", '>', 0.15},
                {"gain in R2, HOMO", "r2_homo_sorted_10nn", "r2_homo_raw_10nn", '>', 0.2},
                {"valid steps, sorted", "valid_sorted", NULL, '>', 0.28},
                {"valid steps, sorted for one of raw", "valid_sorted", "valid_raw", '/', 1.7},
            },
    },
    {
        .name = "augmentation",
        .title = "Augmentation: an ordinary network that learned to ignore turns",
        .words =
            "The same classifier without any symmetry (four convolutions, 16 to 32 channels, "
            "{networks.0.parameters|d} parameters), trained three times: on upright digits, on "
            "digits in all four quarter turns, on digits in four turns from a random angle on. "
            "Turning its training digits teaches it to answer alike: trained on quarter turns, it "
            "names {agreement_90} of the "
            "test digits alike in all four turns.",
        .result =
            "<b>Augmentation.</b> An ordinary network that learned to answer alike in all four "
            "turns "
            "({agreement_90} of the digits) has latents that do not: turned digits find their "
            "class in {knn_raw_90} of the cases, by the mean over the four turned inputs in "
            "{knn_mean_90}.",
        .blocks =
            {
                {
                    .heading = "Answers",
                    .words = "Right answers of the network itself, and how often it has one answer "
                             "for all four turns of a digit.",
                    .rows = "networks",
                    .columns = {{"trained on", "title", FORM_TEXT},
                                {"turns seen at a time", "copies", FORM_WHOLE},
                                {"upright", "accuracy_upright", FORM_BAR},
                                {"quarter turn", "accuracy_90", FORM_BAR},
                                {"any angle", "accuracy_any", FORM_BAR},
                                {"one answer", "agreement_90", FORM_BAR}},
                },
                {
                    .heading = "Codes, trained on quarter turns",
                    .words =
                        "The answers hardly change with a turn, the latents before them do: by "
                        "nearest neighbours they find {knn_raw_upright} of the upright digits and "
                        "{knn_raw_90} of the turned ones; a digit's codes in two turns are "
                        "{spread_raw} as far apart as those of two digits, and for only {own_raw} "
                        "of the digits a turned copy of their own is nearer than every other "
                        "digit. The network has no action on its latents, but the group acts on "
                        "its input: what it makes of the four turned inputs is an orbit, and the "
                        "mean over it, the maximum, or templates sorted over it depend on the "
                        "digit alone.",
                    .rows = "networks.1.codes",
                    .columns = {NEIGHBOUR_COLUMNS,
                                {"inside / between", "spread", FORM_SMALL},
                                {"own copy nearest", "own", FORM_SHARE}},
                },
                {
                    .heading = "Codes, trained on any angle",
                    .words = "Averaging over eight turned inputs also covers the half quarter "
                             "turns.",
                    .rows = "networks.2.codes",
                    .columns = {NEIGHBOUR_COLUMNS,
                                {"inside / between", "spread", FORM_SMALL},
                                {"own copy nearest", "own", FORM_SHARE}},
                },
                {
                    .heading = "Codes, trained on upright digits alone",
                    .words = "The mean over turned inputs repairs even a network that never saw a "
                             "turned digit.",
                    .rows = "networks.0.codes",
                    .columns = {NEIGHBOUR_COLUMNS,
                                {"inside / between", "spread", FORM_SMALL},
                                {"own copy nearest", "own", FORM_SHARE}},
                },
            },
        .goals =
            {
                {"one answer for all four turns", "agreement_90", NULL, '>', 0.93},
                {"quarter turns, mean over turned inputs minus raw latents", "knn_mean_90",
                 "knn_raw_90", '>', 0.1},
                {"own copy nearest, raw", "own_raw", NULL, '<', 0.1},
                {"own copy nearest, mean", "own_mean", NULL, '>', 0.999},
                {"inside / between, raw", "spread_raw", NULL, '>', 0.5},
                {"inside / between, mean", "spread_mean", NULL, '<', 1e-5},
            },
    },
};
