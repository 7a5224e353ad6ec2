"""Carbon by the potential of Tersoff (1988), parameters of Lindsay and Broido (2010): a cheap reference for graphene.

Named in an input file, from the folder of this file, as

    [reference]
    calculator = "carbon:make"
"""

from ase.calculators.tersoff import Tersoff, TersoffParameters


def make():
    """ASE's calculator with these parameters, eV and Å."""
    carbon = TersoffParameters(
        m=3.0,
        gamma=1.0,
        lambda3=0.0,
        c=38049.0,
        d=4.3484,
        h=-0.930,
        n=0.72751,
        beta=1.5724e-7,
        lambda2=2.2119,
        B=430.0,
        R=1.95,
        D=0.15,
        lambda1=3.4879,
        A=1393.6,
    )
    return Tersoff({("C", "C", "C"): carbon})
